"""`posttrain run` on kinds of its own: one that goes on as it should, and some that do not."""

import json
import os
import random
import sys
import time
from pathlib import Path

from posttrain import api
from posttrain.engine.local import LocalExecutor
from posttrain.spec.gate import Metric
from posttrain.spec.knobs import Knobs
from posttrain.spec.stage import Context, Estimate, Kind, Outcome


class Walk(Knobs):
    """Knobs of the toys."""

    steps: int = 40
    pause_s: float = 0.01


def walk(ctx: Context[Walk], *, right: bool) -> Outcome:
    """Add up seeded draws, kept after every step; `right` draws on where it stopped, and else begins again."""
    kept = ctx.scratch / "kept.json"
    done, total = json.loads(kept.read_text()) if kept.exists() else (0, 0)
    draw = random.Random(ctx.seed)
    for _ in range(done if right else 0):
        draw.random()
    for step in range(done, ctx.knobs.steps):
        total += int(draw.random() * 1000)
        fresh = ctx.scratch / ".kept.json"
        fresh.write_text(json.dumps([step + 1, total]))
        fresh.replace(kept)
        time.sleep(ctx.knobs.pause_s)
    (ctx.out / "total.json").write_text(f"{total}\n")
    return Outcome({"steps": Metric(ctx.knobs.steps)})


def steady(ctx: Context[Walk]) -> Outcome:
    """Goes on where it was stopped."""
    return walk(ctx, right=True)


def forgetful(ctx: Context[Walk]) -> Outcome:
    """Keeps the sum and forgets where its draws were."""
    return walk(ctx, right=False)


def absent(ctx: Context[Walk]) -> Outcome:
    """Says something at its first step only: the remark is lost when it goes on."""
    if not (ctx.scratch / "kept.json").exists():
        ctx.note("start", "begun")
    return walk(ctx, right=True)


def stuck(ctx: Context[Walk]) -> Outcome:
    """Hangs when it goes on."""
    if (ctx.scratch / "kept.json").exists():
        time.sleep(600)
    return walk(ctx, right=True)


def _kind(name: str, run) -> Kind:
    return Kind(
        name=name,
        version=1,
        knobs=Walk,
        roles={},
        makes="data",
        gates=lambda knobs, given: {},
        estimate=lambda knobs, inputs: Estimate(),
        run=run,
        measure=lambda artifact, knobs: artifact.metrics,
        says="A toy.",
        check=lambda knobs, inputs: (),
    )


class ToyKinds:
    """Where the toys are looked up."""

    def __init__(self) -> None:
        self._kinds = {run.__name__: _kind(run.__name__, run) for run in (steady, forgetful, absent, stuck)}

    def names(self) -> tuple[str, ...]:
        return tuple(self._kinds)

    def kind(self, name: str, /) -> Kind:
        return self._kinds[name]


TOYS = ToyKinds()


def work(run: str, node: str, **options) -> dict[str, str]:
    """What the worker calls."""
    return api.work(run, node, kinds=TOYS, **options)


def main(words: list[str]) -> None:
    """`RECIPE --run DIR`."""
    recipe, _, folder = words
    hands = LocalExecutor("trials.toy_run:work", warm=())
    finished = api.run(api.Asked(recipe, run=Path(folder), jobs=1), kinds=TOYS, executor=hands)
    sys.stdout.flush()
    os._exit(finished.code)


if __name__ == "__main__":
    main(sys.argv[1:])
