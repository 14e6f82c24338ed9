"""Grading of questions with options: the letter in the last box."""

import re

from posttrain.graders.answers import boxed
from posttrain.graders.base import Grade, Graded


def grade(problem: Graded, response: str) -> Grade:
    """Right where the last box holds the letter of the gold, in either case, bare or as `(B)` or `B.`."""
    found = boxed(response)
    if found is None:
        return Grade(correct=False, outcome="no_answer", answer=None)
    letter = _letter(found)
    if letter is None:
        return Grade(correct=False, outcome="unparsable", answer=found)
    right = letter == _letter(problem.answer)
    return Grade(correct=right, outcome="right" if right else "wrong", answer=letter)


def _letter(text: str) -> str | None:
    found = re.fullmatch(r"\(?([A-Za-z])[).:]?", text.strip())
    return found[1].upper() if found else None
