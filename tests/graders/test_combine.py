"""Rewards as declared sums: right stays above wrong, undecided is not zero, rows are found by id."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.graders import maths
from posttrain.graders.answers import box
from posttrain.graders.base import Grade
from posttrain.graders.combine import MEASURES, Reward, Term, Worth, keyed, rewards
from posttrain.graders.instructions import Constraint
from posttrain.spec.errors import Mismatch


@dataclass(frozen=True)
class Question:
    answer: str = "12"
    prompt: str = "?"
    constraints: tuple[Constraint, ...] = (Constraint("punctuation:no_comma"),)


TERMS = (
    Term("boxed_once", 0.2),
    Term("varied", 0.1, {"n": 3}),
    Term("spoken", -0.3, {"code": "de"}, name="german"),
    Term("within", 0.1, {"most": 50}),
    Term("followed", 0.2),
    Term("tagged", 0.05, {"tags": ("think",)}),
)


def test_every_measure_can_be_a_term() -> None:
    assert {term.measure for term in TERMS} == set(MEASURES)
    worth = Reward(maths.grade, TERMS).of(Question(), f"It is {box('12')}", id="a")
    assert set(worth.parts) == {term.name for term in TERMS} and worth.correct
    assert worth.parts == {"boxed_once": 1, "varied": 1, "german": 0, "within": 1, "followed": 1, "tagged": 0}
    assert worth.reward == pytest.approx(1 + 0.2 + 0.1 + 0.1 + 0.2)


def test_without_terms_the_reward_is_binary() -> None:
    plain = Reward(maths.grade)
    assert [plain.of(Question(), said, id="a").reward for said in (box("12"), box("13"), "12")] == [1.0, 0.0, 0.0]


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_wrong_answer_is_worth_a_right_one(good: str, bad: str) -> None:
    """Whatever else is wished for, and whatever else is said."""
    reward = Reward(maths.grade, TERMS)
    right = reward.of(Question(), good.replace("\\", "") + box("12"), id="a")
    wrong = reward.of(Question(), bad.replace("\\", "") + box("13"), id="b")
    assert right.correct and not wrong.correct
    assert right.reward is not None and wrong.reward is not None and right.reward > wrong.reward


def test_what_is_not_decided_has_no_reward() -> None:
    def unsure(problem: object, text: str) -> Grade:
        return Grade(correct=False, outcome="timeout", answer="x", decided=False)

    worth = Reward(unsure, TERMS[:1]).of(Question(), "text", id="a")
    assert (worth.reward, worth.outcome, worth.correct, worth.parts) == (None, "timeout", False, {"boxed_once": 0.0})


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: Term("boxed_onse", 0.1), "boxed_once"),
        (lambda: Term("varied", 0.1, {"m": 2}), "takes n"),
        (lambda: Term("followed", 0.1, {"n": 2}), "no argument"),
        (lambda: Term("varied", 0.0), "weight"),
        (lambda: Term("varied", float("nan")), "weight"),
        (lambda: Reward(maths.grade, (Term("varied", 0.5), Term("spoken", -0.5))), "as much as being right"),
        (lambda: Reward(maths.grade, (Term("varied", 0.1), Term("varied", 0.2))), "one name"),
    ],
)
def test_an_unsound_reward_is_refused(declare, said) -> None:
    with pytest.raises(Mismatch, match=said):
        declare()


def test_rows_are_found_by_id_in_any_order() -> None:
    """Shuffling problems and responses changes no row."""
    problems = {str(n): Question(answer=str(n)) for n in range(20)}
    responses = {str(n): [box(str(n)), box(str(n + 1))] for n in range(20)}
    told = rewards(Reward(maths.grade), problems, responses)
    assert all(told[str(n), 0].correct and not told[str(n), 1].correct for n in range(20))
    order = list(responses)
    random.Random(3).shuffle(order)
    assert rewards(Reward(maths.grade), problems, {id_: responses[id_] for id_ in order}) == told
    rows = list(told.values())
    random.Random(4).shuffle(rows)
    assert keyed(rows) == told


def test_ids_that_do_not_fit_are_refused() -> None:
    reward = Reward(maths.grade)
    with pytest.raises(Mismatch, match="1 problems have no response and 1 responses have no problem"):
        rewards(reward, {"a": Question()}, {"b": ["x"]})
    row = Worth("a", 0, correct=True, outcome="right", parts={}, reward=1.0)
    with pytest.raises(Mismatch, match="two rows"):
        keyed([row, row])
