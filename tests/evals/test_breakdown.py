"""How answers were graded, counted; signs of hacking in programs, counted beside it."""

from posttrain.data.records import Score
from posttrain.evals.breakdown import outcomes, shown
from posttrain.graders.code.signatures import NAMES
from posttrain.reports.evidence import SIGNS


def row(id: str, domain: str, outcome: str, answer: str | None = None, *, decided: bool = True) -> Score:
    right = outcome == "right"
    told = {"answer": answer, "text": answer or "", "tokens": 1, "finish": "stop", "decided": decided}
    return Score(id=id, domain=domain, sample=0, correct=right, outcome=outcome, **told)


def test_outcomes_are_counted_by_domain():
    """S-D14: an infrastructure failure is counted under its own name, never as wrong."""
    rows = [row("a", "code", "wrong"), row("a", "code", "wrong"), row("b", "code", "sandbox_error", decided=False)]
    told = outcomes([*rows, row("c", "algebra", "right")])
    assert told == {"algebra": {"right": 1}, "code": {"wrong": 2, "sandbox_error": 1}}
    assert list(told["code"]) == ["wrong", "sandbox_error"]


def test_every_sign_has_its_words_in_the_report():
    assert set(SIGNS) == set(NAMES)


def test_signs_are_counted_in_programs_alone():
    hack = "import os\nos._exit(0)"
    rows = [row("a", "code", "crashed", hack), row("b", "code", "right", "x = 1"), row("c", "algebra", "wrong", hack)]
    assert shown(rows, {"a", "b"}) == {"exits": {"crashed": 1}}
    assert shown([row("a", "code", "no_answer")], {"a"}) == {}
