"""Which grader grades which type of answer."""

from typing import Protocol

from posttrain.graders import maths, options
from posttrain.graders.answers import box
from posttrain.graders.base import Graded, Grader
from posttrain.spec.errors import Mismatch

_GRADERS: dict[str, Grader] = {"maths": maths.grade, "options": options.grade}


class GradedByType(Graded, Protocol):
    """A problem that says how its answer is graded."""

    @property
    def answer_type(self) -> str:
        """`maths`, `code` or `options`."""
        ...


def grader(answer_type: str) -> Grader:
    """The grader of an answer type; Mismatch where there is none."""
    if answer_type not in _GRADERS:
        raise Mismatch(
            f"there is no grader for answers of type {answer_type!r}", remedy=f"Known: {', '.join(_GRADERS)}."
        )
    return _GRADERS[answer_type]


def self_check(problem: GradedByType) -> bool:
    """Whether the gold, stated as a final answer, is graded right."""
    return bool(problem.answer.strip()) and grader(problem.answer_type)(problem, box(problem.answer)).correct
