"""Runs that share a store, each a process of its own: `python -m engine.together RECIPE RUN STORE`.

Its kind keeps its count in scratch and stands still in the middle until the file GO is there, so that it can be caught,
killed and taken over.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.toy_kinds import Make, ToyKinds
from posttrain import api
from posttrain.engine.local import LocalExecutor
from posttrain.spec.gate import Metric
from posttrain.spec.stage import Kind, Outcome

MIDDLE = 20
"""The step at which a count stands still."""


def slowly(ctx: Any) -> Outcome:
    """Count to `steps`, going on where an attempt before was stopped."""
    go = Path(os.environ["GO"])
    knobs: Make = ctx.knobs
    state = ctx.scratch / "state.json"
    done: list[int] = json.loads(state.read_text()) if state.exists() else []
    for step in range(len(done), knobs.steps):
        done.append(step)
        fresh = state.with_suffix(".new")
        fresh.write_text(json.dumps(done))
        fresh.replace(state)
        ctx.emit(step=step)
        while step == MIDDLE and not go.exists():
            time.sleep(0.01)
    parts = [part.file("out.json").read_text() for role in ("parts", "one") for part in ctx.inputs(role)]
    (ctx.out / "out.json").write_text(json.dumps([knobs.text, done, parts]))
    return Outcome({"score": Metric(knobs.score, n=10)}, {})


class SlowKinds(ToyKinds):
    """The toys, counting slowly."""

    def kind(self, name: str, /) -> Kind:
        return replace(super().kind(name), run=slowly)


SLOW = SlowKinds()


def work(run: str, node: str, **options: Any) -> dict[str, str]:
    """What the worker calls."""
    return api.work(run, node, kinds=SLOW, **options)


def main() -> None:
    """One run, to its end."""
    recipe, run, store = map(Path, sys.argv[1:])
    hands = LocalExecutor("engine.together:work", warm=())
    finished = api.run(api.Asked(recipe, run=run, store=store), kinds=SLOW, executor=hands)
    sys.stdout.write(json.dumps({"code": finished.code, "fates": dict(finished.fates)}))


if __name__ == "__main__":
    main()
