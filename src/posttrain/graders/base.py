"""What a grader is and what it says of one answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Graded(Protocol):
    """The part of a problem that graders read."""

    @property
    def prompt(self) -> str:
        """The question."""
        ...

    @property
    def answer(self) -> str:
        """The gold."""
        ...


@dataclass(frozen=True)
class Grade:
    """A judgement of one response, and how it came about."""

    correct: bool
    outcome: str
    """right | wrong | no_answer | unparsable | timeout; for programs also those of `sandbox.verdict`, and `unsupported`
    where no program may run; a runner adds `truncated`."""
    answer: str | None
    """The final answer as extracted from the response; None where there is none."""
    decided: bool = True
    """False where the grader could not find out: neither right nor wrong, counted by its outcome.

    A comparison of formulas that ran out of time is undecided; a program that ran out of its own time is wrong.
    """


Grader = Callable[[Graded, str], Grade]
"""Grades a response (the text after the prompt, nothing else) to a problem; never raises on any text."""
