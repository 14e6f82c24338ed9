"""Planted defects of the kind prepare: an exam problem in training, corrupted golds, a problem on two sides."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.trials.planted import Change, Mismatched, Planted

if TYPE_CHECKING:
    from posttrain.data.records import Problem

_TESTS = ("calls", "stdin", "tests")
"""The forms in which a code problem states its tests."""


def _into_train(folder: Path, sides: Sequence[str], change: "Callable[[Problem], Problem]") -> None:
    """Write the first problem of the first other side that has one, changed, at the end of the training side."""
    from posttrain.data import rows
    from posttrain.data.records import Problem

    first = next(problem for side in sides for problem in rows.read(folder / f"{side}.jsonl", Problem))
    train = rows.read_all(folder / "train.jsonl", Problem)
    rows.write(folder / "train.jsonl", [*train, change(first)])


def _in_other_dress(problem: "Problem") -> "Problem":
    return problem.model_copy(update={"prompt": re.sub(r"\s+", "   ", problem.prompt.upper())})


def _as_it_is(problem: "Problem") -> "Problem":
    return problem


def _exam_problem(folder: Path) -> None:
    _into_train(folder, ("test",), _in_other_dress)


def _two_sides(folder: Path) -> None:
    _into_train(folder, ("probe", "val"), _as_it_is)


def corrupted(problem: "Problem") -> "Problem":
    """A problem whose gold cannot be read."""
    return problem.model_copy(update={"answer": "\\frac{3"})


def failing(problem: "Problem") -> "Problem":
    """A code problem whose reference fails its tests."""
    stated = {**json.loads(problem.answer), "reference": "def f(): return None"}
    return _answered(problem, stated)


def _untested(problem: "Problem") -> "Problem":
    stated = {name: value for name, value in json.loads(problem.answer).items() if name not in _TESTS}
    return _answered(problem, {**stated, "tests": ""})


def _answered(problem: "Problem", stated: Mapping[str, Any]) -> "Problem":
    answer = json.dumps(stated, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return problem.model_copy(update={"answer": answer})


def _gold(spoil: "Callable[[Problem], Problem]") -> Change:
    """The first gold of the validation side is spoilt."""

    def after(folder: Path) -> None:
        from posttrain.data import rows
        from posttrain.data.records import Problem

        problems = rows.read_all(folder / "val.jsonl", Problem)
        rows.write(folder / "val.jsonl", [spoil(problems[0]), *problems[1:]])

    return Change(after=after)


PLANTED = (
    Planted("prepare", "overlap", "an exam problem in train, in other case and spacing", Change(after=_exam_problem)),
    Planted("prepare", "overlap", "an exam's code problem in train", Change(after=_exam_problem), domain="code"),
    Planted("prepare", "golds", "one gold corrupted", _gold(corrupted)),
    Planted("prepare", "golds", "a reference that fails its tests", _gold(failing), domain="code"),
    Planted("prepare", "golds", "a code problem without tests", _gold(_untested), domain="code"),
)
MISMATCHES = (
    Mismatched("prepare", "two_sides", "a probe problem copied into train", Change(after=_two_sides), "two sides"),
)
