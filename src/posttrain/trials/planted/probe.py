"""Planted defects of the kind probe: a grader that is never content, answers cut short."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.trials.planted import Change, Planted, Replaced

if TYPE_CHECKING:
    from posttrain.graders.base import Grade


def never_right(_: object) -> Callable[[str], Callable[[object, str], "Grade"]]:
    """A registry of graders to whom every answer is wrong."""
    from posttrain.graders.base import Grade

    def grade(problem: object, text: str) -> Grade:
        return Grade(correct=False, outcome="wrong", answer=None)

    return lambda answer_type: grade


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
        Change(during=(Replaced("posttrain.runners.rollout", "grader", never_right),)),
    ),
    Planted("probe", "uncut", "a cap at the lower quartile of the lengths", Change(knobs=_cut)),
)
