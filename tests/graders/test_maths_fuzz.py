"""Strings made to break a grader: none hangs it, raises, or is taken for right."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from posttrain.graders import maths
from posttrain.graders.answers import ANYWHERE, box

GOLDS = (
    "12",
    "1/2",
    "50\\%",
    "x+1",
    "\\frac{\\sqrt{3}}{2}",
    "(1,2]",
    "\\{1,2\\}",
    "2, -3",
    "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
    "5 \\text{ cm}",
    "Friday",
)
PIECES = (
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\\{",
    "\\}",
    "\\left",
    "\\right",
    "\\frac",
    "\\sqrt",
    "\\text{",
    "\\boxed{",
    "^",
    "_",
    "^{",
    "9",
    "0",
    "1",
    "-",
    "+",
    "/",
    "*",
    "!",
    "=",
    "<",
    ">",
    "\\le",
    ",",
    ";",
    "or",
    "and",
    "\\pm",
    "\\cup",
    "U",
    "x",
    "e",
    "i",
    "\\pi",
    "\\infty",
    "%",
    "\\%",
    "$",
    "$$",
    "\\\\",
    "&",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    " ",
    "\n",
    "\t",
    ".",
    "..",
    "1,000",
    "\\sum_{k=1}^{n}",
    "\\int",
    "\\lim_{x\\to 0}",
    "cm",
    "hours",
    "####",
    "the answer is",
    "__import__('os')",
    "eval",
    "lambda",
    "9**9**9",
    "\\x",
    "\x00",
    "\ud7ff",
    "\u202e",
    "\u0663",
    "\N{SUPERSCRIPT TWO}",
    "factorial(",
    "\\log",
    "|",
)


@dataclass(frozen=True)
class Question:
    answer: str
    prompt: str = "?"


def strings(count: int, seed: int):
    """Pieces in any order and number, some nested or repeated very often, some a damaged gold."""
    draw = random.Random(seed)
    for _ in range(count):
        kind = draw.random()
        if kind < 0.7:
            yield "".join(draw.choices(PIECES, k=draw.randint(1, 12)))
        elif kind < 0.8:
            yield draw.choice(PIECES) * draw.choice((10, 200, 3000))
        elif kind < 0.9:
            opening, closing = draw.choice(
                (("(", ")"), ("{", "}"), ("\\frac{", "}{2}"), ("\\sqrt{", "}"), ("x^{", "}"), ("[", "]"))
            )
            depth = draw.choice((3, 30, 10_000))
            yield opening * depth + "x" + closing * depth
        else:
            gold = draw.choice(GOLDS)
            at = draw.randrange(len(gold) + 1)
            yield gold[:at] + draw.choice(PIECES) + gold[at + draw.randint(0, 1) :]


def fuzzed(count: int, seed: int) -> Counter[str]:
    """Strings in turn as an answer in a box and as a whole response, the golds in turn; outcomes counted."""
    anywhere, outcomes = maths.Maths(reads=ANYWHERE), Counter[str]()
    for number, text in enumerate(strings(count, seed)):
        problem = Question(GOLDS[number // 2 % len(GOLDS)])
        grade = maths.grade(problem, box(text)) if number % 2 else anywhere(problem, text)
        outcomes[grade.outcome] += 1
    return outcomes


def test_no_string_stops_the_grader() -> None:
    """S-D9: no crash, no hang; the process that compares comes back after each it could not end."""
    outcomes = fuzzed(500, seed=1)
    assert outcomes.total() == 500 and set(outcomes) <= {"right", "wrong", "no_answer", "unparsable", "timeout"}
    assert maths.symbolic.equal("x+1", "1+x", seconds=30.0) == "equal"


@pytest.mark.nightly
def test_a_hundred_thousand_adversarial_strings() -> None:
    """S-D9: 100,000 strings, zero hangs, zero crashes; nearly all are decided."""
    outcomes = fuzzed(100_000, seed=2)
    assert outcomes.total() == 100_000 and set(outcomes) <= {"right", "wrong", "no_answer", "unparsable", "timeout"}
    assert outcomes["timeout"] < 1000
    assert maths.symbolic.equal("x+1", "1+x", seconds=30.0) == "equal"
