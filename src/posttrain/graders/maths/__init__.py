r"""Grading of a final answer in mathematics: found, compared exactly, then by its shape, at last by algebra.

Text is read by fixed patterns, never evaluated. Formulas are compared by math-verify and sympy in processes that can be
killed (`symbolic`), and only where nothing cheaper decides.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from posttrain.graders.answers import BOX, BOXED, How, final
from posttrain.graders.base import Grade, Graded
from posttrain.graders.maths import symbolic
from posttrain.graders.maths.exact import number, spaced, tidy
from posttrain.graders.maths.notation import LONGEST, apart, plain, unnamed, words
from posttrain.graders.maths.shapes import Shape, compare, shape
from posttrain.graders.maths.units import Quantity, quantity, unitless

BUDGET_S = 1.5
"""Wall clock of one grade, all comparisons of its parts together."""

UNDECIDED = "timeout"
"""The outcome that is no verdict: the limits ended before there was one."""


@dataclass(frozen=True)
class Maths:
    """A grader of mathematical answers: where the answer may stand, and how near a number must be."""

    reads: Sequence[How] = BOXED
    tolerance: Fraction = Fraction(0)
    """Largest difference of two numbers, as a fraction of the gold; 0 asks for equality."""

    def __call__(self, problem: Graded, text: str) -> Grade:
        """Right where the final answer states what the gold states; `timeout` where that cannot be found out."""
        found = final(text, self.reads)
        if found is None:
            return Grade(correct=False, outcome="no_answer", answer=None)
        outcome = "unparsable" if not found else self.judge(problem.answer, found, problem.prompt)
        return Grade(correct=outcome == "right", outcome=outcome, answer=found, decided=outcome != UNDECIDED)

    def judge(self, gold: str, answer: str, prompt: str = "") -> str:
        """What a bare answer is beside a bare gold: right, wrong, unparsable or timeout.

        A gold that is a number wants a number: `2*6` is no answer where 12 is wanted. Behind a number may stand a unit,
        or a thing that the prompt names.
        """
        exact, told = number(gold), number(answer)
        if exact is not None and told is not None:
            return _said(_one_name(gold, answer) and exact.near(told, self.tolerance))
        if tidy(gold) == tidy(answer):
            return "right"
        if max(len(gold), len(answer)) > LONGEST or BOX in gold:
            return "wrong" if exact is None else "unparsable"
        wanted = _quantity(gold)
        given = _quantity(answer, measure=wanted.measure if wanted else "")
        gold, answer = plain(gold), plain(answer)
        if wanted is not None:
            return self._measured(wanted, given, prompt) if _one_name(gold, answer) else "wrong"
        spoken = words(gold)
        if spoken is not None:
            return _said(words(answer) == spoken)
        return _Comparison(self.tolerance).of(shape(gold), shape(answer))

    def _measured(self, gold: Quantity, given: Quantity | None, prompt: str) -> str:
        if given is None:
            return "unparsable"
        gold = gold.presumed(given.measure, prompt)
        if not gold.unit and given.unit and not given.counts(prompt):
            return "unparsable"
        return _said(gold.same(given, self.tolerance))


def _quantity(text: str, *, measure: str = "") -> Quantity | None:
    r"""The quantity that a text states, named or not; `\$5` is five dollars."""
    readings = (quantity(unnamed(each)[1], measure=measure) for each in (spaced(text), plain(text)))
    found = next((each for each in readings if each is not None), None)
    if found is not None and not found.unit and text.lstrip().startswith("\\$"):
        return Quantity(found.number, "dollar^1", "money^1")
    return found


def _one_name(gold: str, answer: str) -> bool:
    """Whether two stated values are of one thing, where both say of what: `x=5` is not `y=5`."""
    mine, theirs = unnamed(gold)[0], unnamed(answer)[0]
    return not mine or not theirs or mine == theirs or "(" in mine + theirs


class _Comparison:
    """One answer beside one gold: cheap comparisons of all leaves first, then algebra for those left open."""

    def __init__(self, tolerance: Fraction) -> None:
        self._tolerance, self._unread, self._end = tolerance, False, 0.0

    def of(self, gold: Shape, given: Shape) -> str:
        equal = compare(gold, given, self._cheap)
        if equal is None:
            self._end = time.monotonic() + BUDGET_S
            equal = compare(gold, given, self._dear)
        if equal is None:
            return UNDECIDED
        return "unparsable" if self._unread and not equal else _said(equal)

    def _cheap(self, gold: Shape, given: Shape) -> bool | None:
        """What numbers, words and equal texts decide; a number wants a number."""
        if gold.text and tidy(gold.text) == tidy(given.text):
            return True
        wanted = quantity(gold.text)
        if wanted is not None:
            told = quantity(given.text)
            return told is not None and wanted.same(told, self._tolerance)
        if not gold.text or not given.text:
            return False
        spoken = words(gold.text)
        return words(given.text) == spoken if spoken is not None else False if words(given.text) else None

    def _dear(self, gold: Shape, given: Shape) -> bool | None:
        known = self._cheap(gold, given)
        left = self._end - time.monotonic()
        if known is not None or left <= 0:
            return known
        (one, unit), (other, told_unit) = unitless(gold.text), unitless(given.text)
        if unit and told_unit and unit != told_unit:
            return False
        leaves = replace(gold, text=one), replace(given, text=other)
        told = symbolic.equal(*apart(_formula(*leaves), _formula(*leaves[::-1])), seconds=min(symbolic.SECONDS, left))
        self._unread |= told == "unparsable"
        return {"equal": True, "different": False, "unparsable": False, "exhausted": None}[told]


def _formula(leaf: Shape, other: Shape) -> str:
    """A leaf as algebra reads it: with its name where the other side is an equation; `log` without base is natural.

    Spaces beside signs go: the parser stumbles over some.
    """
    text = f"{leaf.name}={leaf.text}" if leaf.name and "=" in other.text else leaf.text
    return _SPACED.sub("", _LOG.sub(r"\\ln", text))


_SPACED = re.compile(r"(?<![A-Za-z\d]) +| +(?![A-Za-z\d])")
_LOG = re.compile(r"\\log(?![A-Za-z_])(?! *_)")


def _said(right: bool) -> str:
    return "right" if right else "wrong"


grade = Maths()
"""The grader of recipes: an answer stands in a box, and a number is compared exactly."""
