"""A kind that works step by step and spends on each: what budgets are tried on."""

import json
import os
import signal
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

from engine.toy_kinds import toy_kind
from posttrain import api
from posttrain.engine.local import LocalExecutor
from posttrain.spec.knobs import Knobs
from posttrain.spec.stage import Estimate, Kind, Outcome, Role


class Spend(Knobs):
    """What it does."""

    domain: str = ""
    steps: int = 10
    tokens: int = 100
    """Spent before each step."""
    money: str = "0"
    wait_s: float = 0.0
    """Time of a step."""
    dies_at: int = -1
    """Killed once, after that step is paid and before it is done."""
    deaf: bool = False
    """Tell nothing on the way: only a signal ends it."""


def spend(ctx: Any) -> Outcome:
    """Every step is a line of the result; those that are kept are not done again."""
    knobs: Spend = ctx.knobs
    state = ctx.scratch / "state.json"
    done: list[str] = json.loads(state.read_text()) if state.exists() else []
    for step in range(len(done), knobs.steps):
        if not knobs.deaf:
            ctx.spend(tokens=knobs.tokens, money=Decimal(knobs.money))
        if step == knobs.dies_at and not (ctx.scratch / "died").exists():
            (ctx.scratch / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(knobs.wait_s)
        done.append(f"{ctx.seed} {step}")
        fresh = state.with_suffix(".new")
        fresh.write_text(json.dumps(done))
        fresh.replace(state)
        if not knobs.deaf:
            ctx.emit(step=step)
    (ctx.out / "out.json").write_text(json.dumps(done))
    return Outcome({})


def estimate(knobs: Any, inputs: Any) -> Estimate:
    return Estimate(seconds=knobs.steps * 3600.0, tokens=knobs.steps * knobs.tokens, money=Decimal(knobs.money))


class Spenders:
    """Where the kind is looked up."""

    def names(self) -> tuple[str, ...]:
        return ("spend",)

    def kind(self, name: str, /) -> Kind:
        made = toy_kind("spend", {"parts": Role(("data",), "parts", many=True, optional=True)})
        return replace(made, knobs=Spend, run=spend, estimate=estimate, gates=lambda knobs, given: {}, check=None)


SPENDERS = Spenders()


def work(run: str, node: str, **options: Any) -> dict[str, str]:
    """What the worker calls."""
    return api.work(run, node, kinds=SPENDERS, **options)


def forked() -> LocalExecutor:
    """The real executor on spenders."""
    return LocalExecutor("engine.spenders:work", warm=())
