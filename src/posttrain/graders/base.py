"""What a grader is and what it says of one answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

UNDECIDED = frozenset({"timeout"})
"""Outcomes that are no verdict: the limits of the grader ended before it had one."""


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
    """right | wrong | no_answer | unparsable | timeout; a runner adds `truncated`."""
    answer: str | None
    """The final answer as extracted from the response; None where there is none."""

    @property
    def decided(self) -> bool:
        """False where the grader could not find out: neither right nor wrong, counted by its outcome."""
        return self.outcome not in UNDECIDED


Grader = Callable[[Graded, str], Grade]
"""Grades a response (the text after the prompt, nothing else) to a problem; never raises on any text."""
