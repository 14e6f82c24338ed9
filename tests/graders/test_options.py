"""Questions with options: the letter in the last box."""

import pytest

from posttrain.data.records import Problem
from posttrain.graders.registry import grader, self_check


def asked(answer: str) -> Problem:
    return Problem(id="x", domain="d", prompt="A, B, C or D?", answer=answer, answer_type="options")


@pytest.mark.parametrize("said", [r"\boxed{B}", r"\boxed{(b)}", r"A? No: \boxed{A}, rather \boxed{ B. }"])
def test_the_letter_of_the_gold_is_right(said: str) -> None:
    """S-E5: bare, in brackets or with a full stop, in either case; the last box counts."""
    assert grader("options")(asked("B"), said).correct


@pytest.mark.parametrize(
    ("said", "outcome"),
    [("B", "no_answer"), (r"\boxed{}", "unparsable"), (r"\boxed{AB}", "unparsable"), (r"\boxed{C}", "wrong")],
)
def test_anything_else_is_not(said: str, outcome: str) -> None:
    """S-E5: no box, no letter, another letter; each is told apart."""
    grade = grader("options")(asked("B"), said)
    assert (grade.correct, grade.outcome) == (False, outcome)


@pytest.mark.parametrize(("gold", "good"), [("A", True), ("(d)", True), ("", False), ("12", False)])
def test_a_gold_that_is_no_letter_fails_itself(gold: str, good: bool) -> None:
    assert self_check(asked(gold)) is good
