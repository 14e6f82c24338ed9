"""The data of the built-in code domain: all of it, or the tasks that no program must be run for."""

import json
from pathlib import Path
from typing import Any

import pytest

from posttrain.curate.worlds import code
from posttrain.data import rows
from posttrain.data.records import Problem
from posttrain.stages import prepare
from posttrain.stages.prepare import Knobs
from support import FolderContext, artifact

SIZES: dict[str, Any] = {"max_problems": 16, "n_solutions": 2, "probe_size": 8, "val_size": 8, "test_size": 8}
SIDES = ("train", "probe", "val", "test")


@pytest.mark.parametrize("tasks", ["all", "expression"])
def test_code_is_prepared_with_golds_that_hold(tmp_path: Path, tasks: str) -> None:
    """S-B9: both kinds of tests or expressions alone, verified, no hidden test where a model reads, sides apart."""
    ctx = FolderContext(tmp_path, Knobs(domain="code", code_tasks=tasks, **SIZES), {}, seed=17)
    metrics = prepare.run(ctx).metrics
    assert metrics["rows/train"].value == 16
    assert (metrics["overlap"].value, metrics["bad_golds"].value, metrics["verified_share"].value) == (0, 0, 1)
    sides = {side: rows.read_all(ctx.out / f"{side}.jsonl", Problem) for side in SIDES}
    wanted = code.TEMPLATES if tasks == "all" else code.EXPRESSIONS
    for problems in sides.values():
        assert {p.template for p in problems} == {template.__name__ for template in wanted}
        assert {"stdin" in json.loads(p.answer) for p in problems} == ({True, False} if tasks == "all" else {False})
    assert len({p.id for problems in sides.values() for p in problems}) == 40
    read = [text for p in sides["train"] for text in (p.prompt, *(s.text for s in p.solutions))]
    assert all("assert" not in text for text in read)
    tests = [test for p in sides["train"] for test in json.loads(p.answer).get("tests", "").splitlines()]
    assert tests and all(test.removeprefix("assert ") not in text for test in tests for text in read)


def test_code_tasks_is_refused_nowhere() -> None:
    """S-B9: a profile sets it for every domain, whatever the source."""
    for domain in ("algebra", "code"):
        assert prepare.check(Knobs(domain=domain, code_tasks="expression"), {}) == ()


@pytest.mark.parametrize("tasks", ["all", "expression"])
def test_metrics_of_code_are_counted_again_from_the_files(tmp_path: Path, tasks: str) -> None:
    """S-B9: the second look runs, or computes, what the files say: one reference spoilt is one bad gold."""
    ctx = FolderContext(tmp_path, Knobs(domain="code", code_tasks=tasks, **SIZES), {}, seed=17)
    metrics = prepare.run(ctx).metrics
    made = artifact(ctx.out, "data")
    assert prepare.measure(made, ctx.knobs) == metrics
    first, *others = rows.read_all(ctx.out / "probe.jsonl", Problem)
    told = json.loads(first.answer)
    spoilt = json.dumps({**told, "reference": "def f(a): return 7" if "entry" in told else "print(7)"})
    rows.write(ctx.out / "probe.jsonl", [first.model_copy(update={"answer": spoilt}), *others])
    assert prepare.measure(made, ctx.knobs)["bad_golds"].value == 1


def test_tasks_that_are_more_than_expressions_are_run_to_be_counted(tmp_path: Path) -> None:
    """S-B9: adopted code may be more than an expression, whatever was asked of the built-in world."""
    ctx = FolderContext(tmp_path, Knobs(domain="code", **SIZES), {}, seed=17)
    metrics = prepare.run(ctx).metrics
    narrow = ctx.knobs.model_copy(update={"code_tasks": "expression"})
    assert prepare.measure(artifact(ctx.out, "data"), narrow) == metrics
