"""Planted defects of the kind probe: a grader that is never content, answers cut short."""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.trials.planted import Change, Planted, Replaced

if TYPE_CHECKING:
    from posttrain.graders.base import Grade


def never_right(_: object) -> Callable[[object, object, Sequence[str]], "list[Grade]"]:
    """A grader of whole batches to whom every answer is wrong."""
    from posttrain.graders.base import Grade

    return lambda grading, problems, texts: [Grade(correct=False, outcome="wrong", answer=None) for _ in texts]


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
        Change(during=(Replaced("posttrain.runners.rollout", "graded", never_right),)),
    ),
    Planted("probe", "uncut", "a cap at the lower quartile of the lengths", Change(knobs=_cut)),
)
