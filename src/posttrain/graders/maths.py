r"""Exact and numeric grading of a final answer in `\boxed{…}`. Text is read by fixed patterns, never evaluated."""

import re
from dataclasses import dataclass
from fractions import Fraction

from posttrain.graders.answers import boxed
from posttrain.graders.base import Grade, Graded

LONGEST = 200
"""Characters of an answer that is read as a number; a longer one is unparsable."""


@dataclass(frozen=True)
class Number:
    """An exact value; 50 % is not 1/2."""

    value: Fraction
    percent: bool = False


def grade(problem: Graded, text: str) -> Grade:
    """Right where the last boxed answer states the gold's value (or, where the gold is no number, its text)."""
    answer = boxed(text)
    if answer is None:
        return Grade(correct=False, outcome="no_answer", answer=None)
    if not answer:
        return Grade(correct=False, outcome="unparsable", answer=answer)
    gold = number(problem.answer)
    given = number(answer)
    if gold is not None and given is None:
        return Grade(correct=False, outcome="unparsable", answer=answer)
    correct = given == gold if gold is not None else tidy(answer) == tidy(problem.answer)
    return Grade(correct=correct, outcome="right" if correct else "wrong", answer=answer)


def number(text: str) -> Number | None:
    r"""The exact value of an integer, decimal, fraction (`a/b`, `\frac{a}{b}`, mixed) or percentage; else None."""
    if len(text) > LONGEST:
        return None
    bare = _GROUPED.sub(lambda m: re.sub("[ ,]", "", m[0]), tidy(text))
    bare = _NAMED.sub("", bare)
    percent = bare.endswith("%")
    match = _NUMBER.fullmatch(bare.removesuffix("%"))
    if match is None:
        return None
    value = _value(match)
    return None if value is None else Number(value, percent)


def tidy(text: str) -> str:
    r"""The answer without what does not change it: `$`, LaTeX sizing, spaces (but between digits), a final stop.

    `\dfrac` is `\frac`, `{,}` is a comma, `\%` a percent sign.
    """
    for written, meant in _SAME:
        text = text.replace(written, meant)
    return _SPACE.sub("", _NOISE.sub("", _SPACING.sub(" ", text)).strip()).removesuffix(".")


def _value(match: re.Match[str]) -> Fraction | None:
    over = Fraction(match["over"] or match["under"] or 1)
    top = Fraction(match["top"] or match["plain"])
    whole = match["whole"]
    if not over or (whole and (top < 0 or over < 0)):
        return None
    value = Fraction(whole or 0) + top / over
    return -value if match["sign"] == "-" else value


_SAME = (("\N{MINUS SIGN}", "-"), ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("{,}", ","), ("\\%", "%"))
_SPACING = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|\s+")
_NOISE = re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\?\$|\^\{?\\circ\}?|°")
_SPACE = re.compile(r"(?<!\d) +| +(?!\d| )", re.ASCII)
_GROUPED = re.compile(r"(?<![\d.])[1-9]\d{0,2}(?:(?:,\d{3})+|(?: \d{3})+)(?!\d)", re.ASCII)
"""Digits in groups of three. Commas or spaces that do not group so (`1,2`) leave the text no number."""
_NAMED = re.compile(r"^[A-Za-z]=")
_DECIMAL = r"(?:\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)(?:(?P<whole>\d+)?\\frac\{{(?P<top>[+-]?{_DECIMAL})\}}\{{(?P<over>[+-]?{_DECIMAL})\}}"
    rf"|(?P<plain>{_DECIMAL})(?:/(?P<under>[+-]?{_DECIMAL}))?)",
    re.ASCII,
)
