"""Planted defects of the kind prepare: an exam problem in training, a corrupted gold, a problem on two sides."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.trials.planted import Change, Mismatched, Planted

if TYPE_CHECKING:
    from posttrain.data.records import Problem


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


def _gold(folder: Path) -> None:
    from posttrain.data import rows
    from posttrain.data.records import Problem

    problems = rows.read_all(folder / "val.jsonl", Problem)
    bad = problems[0].model_copy(update={"answer": "\\frac{3"})
    rows.write(folder / "val.jsonl", [bad, *problems[1:]])


PLANTED = (
    Planted("prepare", "overlap", "an exam problem in train, in other case and spacing", Change(after=_exam_problem)),
    Planted("prepare", "golds", "one gold corrupted", Change(after=_gold)),
)
MISMATCHES = (
    Mismatched("prepare", "two_sides", "a probe problem copied into train", Change(after=_two_sides), "two sides"),
)
