from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.data.records import Problem
from posttrain.graders import maths
from posttrain.graders.answers import box, boxed
from posttrain.graders.registry import grader, self_check
from posttrain.spec.errors import Mismatch


@dataclass(frozen=True)
class Question:
    """The least a grader asks of a problem."""

    answer: str
    prompt: str = "?"


RIGHT = [
    ("25", "025"),
    ("025", "25"),
    ("0", "-0"),
    ("7", "+7"),
    ("-12", "-12"),
    ("-12", "\N{MINUS SIGN}12"),
    ("-12", " - 12 "),
    ("1000", "1,000"),
    ("1000", "1{,}000"),
    ("1000", "1\\,000"),
    ("1000", "1\\;000"),
    ("12345678", "12 345 678"),
    ("1,234,567", "1234567"),
    ("1234.5", "1,234.50"),
    ("1/2", "\\frac{1}{2}"),
    ("1/2", "\\dfrac{1}{2}"),
    ("\\frac{1}{2}", "\\tfrac{2}{4}"),
    ("1/2", "0.5"),
    ("1/2", ".5"),
    ("1/2", "0.500"),
    ("-3/4", "-\\frac{3}{4}"),
    ("-3/4", "\\frac{-3}{4}"),
    ("-3/4", "\\frac{3}{-4}"),
    ("-3/4", "3/-4"),
    ("3/4", "3 / 4"),
    ("3/4", "\\frac{ 3 }{ 4 }"),
    ("7/3", "2\\frac{1}{3}"),
    ("7/3", "2 \\frac{1}{3}"),
    ("-7/3", "-2\\frac{1}{3}"),
    ("6", "12/2"),
    ("6", "6."),
    ("6", "6.0"),
    ("6", "$6$"),
    ("18", "\\$18"),
    ("18", "$18"),
    ("70", "70^\\circ"),
    ("70", "70^{\\circ}"),
    ("70", "70°"),
    ("5", "x=5"),
    ("5", "x = 5"),
    ("50%", "50\\%"),
    ("50\\%", "50%"),
    ("12.5%", "12.50\\%"),
    ("100000000000000000000000000001", "100,000,000,000,000,000,000,000,000,001"),
    ("n-4", "n - 4"),
    ("\\left(1,2\\right)", "(1,2)"),
    ("x^{2}", "x^{2}"),
]
WRONG = [
    ("25", "52"),
    ("25", "2.5"),
    ("25", "-25"),
    ("1/2", "1/3"),
    ("1/2", "2/1"),
    ("1/3", "0.333"),
    ("50%", "50"),
    ("50", "50%"),
    ("50%", "0.5"),
    ("1/2", "50\\%"),
    ("100000000000000000000000000001", "100000000000000000000000000002"),
    ("0.1", "0.1000000000000000000000001"),
    ("n-4", "4-n"),
    ("(1,2)", "[1,2]"),
    ("(1,2)", "(2,1)"),
    ("n-4", "4"),
]
UNPARSABLE = [
    "",
    "12 or 13",
    "3 4",
    "1,2",
    "12,34",
    "1,000,00",
    "0,123",
    "1.000,000",
    "1/0",
    "\\frac{1}{0}",
    "1/2/3",
    "--3",
    "1e5",
    "1+1",
    "2*6",
    "twelve",
    "\\infty",
    "nan",
    "inf",
    "\u0663",
    "\u00b2",
    "1_000",
    "0x19",
    "1\\frac{-1}{2}",
]
HOSTILE = [
    "__import__('os').system('touch /tmp/owned')",
    "9^{9^{9}}",
    "9**9**9",
    "factorial(10**7)",
    "10000000!",
    "(1+x)^{5000}",
    "9" * 100_000,
    "1," + "000," * 50_000 + "000",
    "(" * 10_000 + "1" + ")" * 10_000,
    "{" * 10_000 + "1" + "}" * 10_000,
    "\\frac{" * 10_000,
    " " * 100_000 + "1",
    "1 " * 100_000,
    "\\ " * 100_000,
    "\\left" * 50_000,
    "\x00\ud7ff\u202e",
]


@pytest.mark.parametrize(("gold", "given_answer"), RIGHT)
def test_equal_values_are_right(gold: str, given_answer: str) -> None:
    """S-D9: fractions, decimals, percent, thousands, "025" = 25, signs, spacing."""
    grade = maths.grade(Question(gold), f"so {box(given_answer)}")
    assert (grade.correct, grade.outcome, grade.answer) == (True, "right", given_answer.strip())


@pytest.mark.parametrize(("gold", "given_answer"), WRONG)
def test_other_values_are_wrong(gold: str, given_answer: str) -> None:
    """S-D9: percent stays distinct, numbers are compared exactly."""
    grade = maths.grade(Question(gold), box(given_answer))
    assert (grade.correct, grade.outcome) == (False, "wrong")


@pytest.mark.parametrize("given_answer", UNPARSABLE)
def test_what_states_no_number_is_unparsable(given_answer: str) -> None:
    grade = maths.grade(Question("12"), box(given_answer))
    assert (grade.correct, grade.outcome) == (False, "unparsable")


@pytest.mark.parametrize("text", ["", "12", "the answer is 12", "\\boxed", "\\boxed{12", "\\boxed{{12}", "boxed{12}"])
def test_without_a_closed_box_there_is_no_answer(text: str) -> None:
    grade = maths.grade(Question("12"), text)
    assert (grade.correct, grade.outcome, grade.answer) == (False, "no_answer", None)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_harmless(text: str) -> None:
    """S-D9: nothing is evaluated, and a response of any length is read once."""
    for gold in ("12", "\\text{yes}"):
        assert not maths.grade(Question(gold), box(text)).correct
        assert not maths.grade(Question(gold), text).correct


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{2}} done", "\\frac{1}{2}"),
        ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
        ("\\boxed{a\\}b}", "a\\}b"),
        ("\\boxed {3}", "3"),
        ("\\boxed{1} \\boxed{2", None),
        ("\\boxed{\\boxed{4}}", "4"),
        ("\\boxed3", None),
    ],
)
def test_the_last_box_counts(text: str, answer: str | None) -> None:
    """S-D9: last `\\boxed{}`, nested braces; the last final answer counts, not the first match."""
    assert boxed(text) == answer


@given(st.text(max_size=200))
def test_no_text_makes_a_grader_fail(text: str) -> None:
    for gold in ("12", "1/2", text):
        for response in (text, box(text)):
            assert maths.grade(Question(gold), response).outcome in {"right", "wrong", "no_answer", "unparsable"}


@given(st.fractions())
def test_every_fraction_grades_itself(value) -> None:
    written = f"{value.numerator}/{value.denominator}"
    latex = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    assert maths.grade(Question(written), box(latex)).correct
    assert not maths.grade(Question(written), box(str(value + 1))).correct


@pytest.mark.parametrize("gold", ["12", "-3/7", "50\\%", "1,000", "n-4", "\\frac{1}{2}"])
def test_a_gold_grades_itself(gold: str) -> None:
    """S-D9: golds grade themselves 1."""
    assert self_check(Problem(id="x", domain="d", prompt="p", answer=gold))


@pytest.mark.parametrize("gold", ["", " ", "12}", "{12", "a \\boxed{3}"])
def test_a_damaged_gold_fails_itself(gold: str) -> None:
    assert not self_check(Problem(id="x", domain="d", prompt="p", answer=gold))


def test_an_answer_type_without_grader_is_a_mismatch() -> None:
    with pytest.raises(Mismatch, match="no grader"):
        grader("poetry")
    assert grader("maths") is maths.grade
