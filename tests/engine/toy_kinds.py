"""Kinds that do a little real work: they write a file made of their knobs and inputs, and fail when told to."""

import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from posttrain import api
from posttrain.api import Asked
from posttrain.engine.local import LocalExecutor
from posttrain.engine.run import Ended, Finished, Task
from posttrain.spec.errors import BudgetReached, Mismatch, MissingNeed, StageFailed, Stop, UsageError
from posttrain.spec.gate import Gate, Metric
from posttrain.spec.knobs import File, Knobs
from posttrain.spec.stage import Artifact, Estimate, Kind, Kinds, Outcome, Role

ERRORS: Mapping[str, type[Stop]] = {
    "usage": UsageError,
    "need": MissingNeed,
    "budget": BudgetReached,
    "mismatch": Mismatch,
    "failed": StageFailed,
}


class Make(Knobs):
    """Knobs of the toys."""

    domain: str = ""
    text: str = "a"
    k: int = 1
    constant: bool = False
    """Write the same bytes whatever the other knobs are."""
    steps: int = 0
    """Count so far in scratch, one step after the other."""
    score: float = 1.0
    trouble: Literal["", "usage", "need", "budget", "mismatch", "failed", "crash", "kill", "hang", "flaky"] = ""
    rules: File | None = None
    wait_s: float = 0.0


def toy(ctx: Any) -> Outcome:
    """Write what the knobs and inputs say."""
    knobs: Make = ctx.knobs
    if (ctx.out / "left").exists() or any(ctx.out.iterdir()):
        raise AssertionError("out must begin empty")
    (ctx.out / "half.txt").write_text("half")
    parts = [part for role in ("parts", "one") for part in ctx.inputs(role)]
    steps = _count(ctx, knobs)
    _trouble(ctx, knobs)
    time.sleep(knobs.wait_s)
    (ctx.out / "half.txt").unlink()
    rules = "" if knobs.rules is None else knobs.rules.read_text()
    read = [part.file("out.json").read_text() for part in parts]
    said = [knobs.text, knobs.domain, knobs.k, ctx.seed, steps, rules, read]
    (ctx.out / "out.json").write_text(json.dumps(["constant"] if knobs.constant else said))
    return Outcome(counted(knobs), {"rate": 3.5})


def counted(knobs: Make) -> dict[str, Metric]:
    """The metrics of a toy; its rows are its knobs."""
    return {"score": Metric(knobs.score, n=10), "steps": Metric(knobs.steps)}


def _count(ctx: Any, knobs: Make) -> list[int]:
    """Steps so far come from scratch, a row a step beside the state, as a training run keeps them."""
    state, rows = ctx.scratch / "state.json", ctx.scratch / "rows"
    rows.mkdir(exist_ok=True)
    done: int = json.loads(state.read_text()) if state.exists() else 0
    for step in range(done, knobs.steps):
        (rows / f"{step:03d}").write_text(str(step))
        fresh = state.with_suffix(".new")
        fresh.write_text(json.dumps(step + 1))
        fresh.replace(state)
        ctx.emit(step=step, loss=1 / (step + 1))
        ctx.progress(step + 1, knobs.steps, "steps")
        if knobs.trouble == "kill" and step == knobs.steps // 2 and not (ctx.scratch / "killed").exists():
            (ctx.scratch / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return [int(row.read_text()) for row in sorted(rows.iterdir())]


def _trouble(ctx: Any, knobs: Make) -> None:
    if knobs.trouble in ERRORS:
        raise ERRORS[knobs.trouble]("it is told to fail", where="here", remedy="Do not.")
    if knobs.trouble == "crash":
        raise ValueError("a defect of ours")
    if knobs.trouble == "hang":
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (ctx.scratch / "grandchild").write_text(str(os.getpid()))
            time.sleep(60)
            os._exit(0)
        time.sleep(60)
    if knobs.trouble == "flaky" and not (ctx.scratch / "tried").exists():
        (ctx.scratch / "tried").touch()
        raise StageFailed("not at the first try")


def refuse(knobs: Make, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """What a kind refuses by itself."""
    return ("k must not be 13.",) if knobs.k == 13 else ()


def toy_kind(name: str, roles: Mapping[str, Role], *, version: int = 1) -> Kind:
    gates = {"good": Gate(metric="score", at_least=Decimal("0.5"))}
    return Kind(
        name=name,
        version=version,
        knobs=Make,
        roles=roles,
        makes="data",
        gates=lambda knobs, given: gates,
        estimate=lambda knobs, inputs: Estimate(seconds=float(knobs.k), tokens=10),
        run=toy,
        measure=lambda artifact, knobs: counted(knobs),
        says="A toy.",
        check=refuse,
    )


class ToyKinds:
    """Where toys are looked up."""

    def __init__(self, version: int = 1) -> None:
        data = ("data",)
        made = (
            toy_kind("make", {"parts": Role(data, "parts", many=True, optional=True)}, version=version),
            toy_kind("mix", {"parts": Role(data, "parts", many=True)}),
            toy_kind("pass", {"one": Role(data, "the one")}),
            toy_kind("model", {"one": Role(("model",), "a model")}),
        )
        self._kinds = {kind.name: kind for kind in made}

    def names(self) -> tuple[str, ...]:
        return tuple(self._kinds)

    def kind(self, name: str, /) -> Kind:
        return self._kinds[name]


TOYS = ToyKinds()


def work(run: str, node: str, **options: Any) -> dict[str, str]:
    """What the worker calls."""
    return api.work(run, node, kinds=TOYS, **options)


def forked() -> LocalExecutor:
    """The real executor on toys."""
    return LocalExecutor("engine.toy_kinds:work", warm=())


class Inline:
    """An executor that works every task at once, in this process."""

    def __init__(self, kinds: Kinds | None = None) -> None:
        self._kinds = kinds or TOYS
        self.started: list[str] = []
        self.prepared = 0
        self._ended: list[Ended] = []

    def prepare(self) -> None:
        self.prepared += 1

    def start(self, task: Task) -> None:
        self.started.append(task.node)
        try:
            value = api.work(*task.args, **task.options, kinds=self._kinds)
        except Stop as error:
            self._ended.append(Ended(task.node, error))
        else:
            self._ended.append(Ended(task.node, None, value))

    def wait(self, seconds: float) -> tuple[Ended, ...]:
        ended, self._ended = tuple(self._ended), []
        if not ended:
            time.sleep(seconds)
        return ended

    def close(self) -> None:
        assert not self._ended


RECIPE = """
format = 1
name = "toys"
seed = 7

[stage.prepare]
kind = "make"
each = { domain = ["algebra", "geometry"] }

[stage.train]
kind = "mix"
each = "prepare"
inputs = { parts = "prepare" }

[stage.fuse]
kind = "mix"
inputs = { parts = "train" }

[stage.exam]
kind = "pass"
inputs = { one = "fuse" }
"""


class Bed:
    """A recipe in a temporary folder, and short ways to plan and run it."""

    def __init__(self, root: Path, text: str = RECIPE) -> None:
        self.recipe, self.folder = root / "toys.toml", root / "run"
        self.recipe.write_text(text)

    def asked(self, *sets: str, **more: Any) -> Asked:
        return Asked(self.recipe, run=self.folder, sets=sets, **more)

    def run(self, *sets: str, **more: Any) -> tuple[Finished, list[str]]:
        """Run inline; what was worked, in order."""
        kinds = more.pop("kinds", TOYS)
        hands = Inline(kinds)
        return api.run(self.asked(*sets, **more), kinds=kinds, executor=hands), hands.started

    def actions(self, *sets: str, **more: Any) -> dict[str, tuple[str, str]]:
        """Node → action and first reason."""
        kinds = more.pop("kinds", TOYS)
        planned = api.plan(self.asked(*sets, **more), kinds=kinds)
        return {id: (one.action, one.reasons[0]) for id, one in planned.plan.decisions.items()}

    def digests(self) -> dict[str, str]:
        """Node → content digest of its current artifact."""
        nodes = sorted(path.name for path in (self.folder / "nodes").iterdir())
        return {node: api.show(self.folder / "nodes" / node).manifest.digest for node in nodes}


def seen(artifacts: Iterable[Artifact]) -> list[str]:
    return [artifact.node for artifact in artifacts]
