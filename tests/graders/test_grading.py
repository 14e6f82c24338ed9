"""Grading in batches: answers of every type at once, order kept, golds that grade themselves."""

import json
from dataclasses import dataclass

import pytest

from posttrain.graders.registry import Grading, self_check
from posttrain.spec.errors import UsageError
from posttrain.spec.knobs import Resources, permit


@dataclass
class Problem:
    answer: str
    answer_type: str = "code"
    prompt: str = "Write f."


TESTS = {"entry": "f", "tests": "assert f(2) == 4\nassert f(0) == 0"}
DOUBLE = Problem(json.dumps(TESTS))
RIGHT, WRONG = "def f(n):\n    return n + n\n", "def f(n):\n    return n * n * n\n"


def test_answers_of_every_type_are_graded_together_in_the_order_given():
    """S-D13: one batch, each grade at its answer's place."""
    problems = [Problem("12", "maths"), DOUBLE, Problem("B", "options"), DOUBLE, Problem("12", "maths"), DOUBLE]
    texts = ["\\boxed{12}", WRONG, "\\boxed{B}", RIGHT, "\\boxed{13}", "no idea"]
    with Grading() as grading:
        assert grading.level is None
        grades = grading.grade_all(problems, texts)
        assert grading.level in ("L3", "L2")
    assert [grade.outcome for grade in grades] == ["right", "wrong", "right", "right", "wrong", "no_answer"]
    assert [grade.correct for grade in grades] == [True, False, True, True, False, False]
    assert all(grade.decided for grade in grades)


def test_golds_of_code_grade_themselves():
    """S-D13: a reference that fails its tests is no gold; without one the tests must be sound."""
    golds = {
        "right": {**TESTS, "reference": RIGHT},
        "tests that it fails": {**TESTS, "reference": WRONG},
        "no reference": TESTS,
        "zero tests": {"entry": "f", "tests": ""},
        "no tests": {"entry": "f"},
        "broken tests": {"entry": "f", "tests": "assert f( =="},
    }
    with Grading() as grading:
        held = grading.self_checks([Problem(json.dumps(gold)) for gold in golds.values()] + [Problem("7", "maths")])
    assert dict(zip(golds, held, strict=False)) == {name: name in ("right", "no reference") for name in golds}
    assert held[-1]
    assert self_check(Problem(json.dumps(golds["right"])))


@pytest.mark.parametrize("sandbox", ["L3", "L2", "L1", "none", "http://10.0.0.7:8731", "https://boxes.example/run"])
def test_resources_name_a_level_an_address_or_none(sandbox):
    assert Resources(sandbox=sandbox).sandbox == sandbox


@pytest.mark.parametrize("sandbox", ["L4", "l2", "", "http://", "ftp://a", "http:// b", "off"])
def test_other_texts_are_no_sandbox(sandbox):
    with pytest.raises(ValueError, match=r'must be "L3", "L2", "L1", the address'):
        Resources(sandbox=sandbox)


def test_below_l2_the_environment_must_agree():
    """S-D14: a lower level is never taken in silence."""
    for sandbox in ("L3", "L2", "none", "http://host:1"):
        permit(sandbox, {})
    permit("L1", {"POSTTRAIN_SANDBOX_L1": "1"})
    for environ in ({}, {"POSTTRAIN_SANDBOX_L1": ""}, {"POSTTRAIN_SANDBOX_L1": "0"}):
        with pytest.raises(UsageError, match="POSTTRAIN_SANDBOX_L1 is not 1") as caught:
            permit("L1", environ)
        assert caught.value.code == 2
