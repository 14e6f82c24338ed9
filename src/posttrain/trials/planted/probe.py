"""Planted defects of the kind probe: a grader that is never content, a sandbox out of order, answers cut short."""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.trials.planted import Change, Planted, Replaced

if TYPE_CHECKING:
    from posttrain.graders.base import Grade

Graded = Callable[[Any, Sequence[Any], Sequence[str]], "list[Grade]"]
"""Grades a batch of answers: grading, problems, texts."""


def _never_right(_: Graded) -> Graded:
    from posttrain.graders.base import Grade

    def graded(grading: Any, problems: Sequence[Any], texts: Sequence[str]) -> "list[Grade]":
        return [Grade(correct=False, outcome="wrong", answer=None) for _ in texts]

    return graded


def _out_of_order(_: Graded) -> Graded:
    """No program is run, and what says nothing about a program counts as decided."""
    from posttrain.graders.base import Grade

    def graded(grading: Any, problems: Sequence[Any], texts: Sequence[str]) -> "list[Grade]":
        return [Grade(correct=False, outcome="sandbox_error", answer=text) for text in texts]

    return graded


NEVER_RIGHT = Replaced("posttrain.runners.rollout", "graded", _never_right)
"""A grader to whom every answer is wrong."""
OUT_OF_ORDER = Replaced("posttrain.runners.rollout", "graded", _out_of_order)
"""A sandbox that runs nothing, and a grader that takes its errors for wrong answers."""


def short(scores: Path, step: int) -> int:
    """The length in tokens that three quarters of a checkpoint's answers have or pass."""
    from posttrain.data import rows
    from posttrain.data.records import Score

    lengths = [row.tokens for row in rows.read(scores, Score) if row.step == step]
    return int(statistics.quantiles(lengths, n=4)[0])


def _cut(honest: Path) -> dict[str, Any]:
    chosen = json.loads((honest / "choice.json").read_text(encoding="utf-8"))["chosen"]
    return {"max_new_tokens": short(honest / "scores.jsonl", chosen)}


PLANTED = (
    Planted(
        "probe",
        "signal",
        "a grader to whom every answer is wrong",
        Change(during=(NEVER_RIGHT,)),
    ),
    Planted(
        "probe",
        "signal",
        "a sandbox out of order, its errors counted as wrong",
        Change(during=(OUT_OF_ORDER,)),
        domain="code",
    ),
    Planted("probe", "uncut", "a cap at the lower quartile of the lengths", Change(knobs=_cut)),
)
