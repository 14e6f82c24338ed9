"""A reward as a declared sum: right or wrong, and beside it what else is wished for. Rows carry ids, never places.

reward = 1 for right, 0 for wrong, plus weight x measure of each term. The weights together weigh less than being right,
so no wrong answer is ever worth as much as a right one. What the grader could not decide has no reward: None, not 0.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from posttrain.graders import instructions, text
from posttrain.graders.base import Graded, Grader
from posttrain.spec.errors import Mismatch

Measure = Callable[..., float]
"""Of a problem and a response, then arguments by name: a number from 0 to 1."""


def _of_text(measure: Callable[..., float]) -> Measure:
    """A measure that reads the response alone."""

    def measured(problem: Graded, response: str, **arguments: Any) -> float:
        return measure(response, **arguments)

    measured.__signature__ = signature(measure)  # pyright: ignore[reportFunctionMemberAccess]
    return measured


def _followed(problem: instructions.Asking, response: str) -> float:
    """Share of the problem's constraints that the response follows strictly."""
    return instructions.follow(response, problem.constraints).share


MEASURES: Mapping[str, Measure] = {
    "boxed_once": _of_text(text.boxed_once),
    "tagged": _of_text(text.tagged),
    "varied": _of_text(text.varied),
    "spoken": _of_text(text.spoken),
    "within": _of_text(text.within),
    "followed": _followed,
}
"""What a term may measure. A weight below 0 makes it a penalty."""


@dataclass(frozen=True)
class Term:
    """One wish beside being right: a measure by name, its weight, its arguments."""

    measure: str
    weight: float
    arguments: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    """What the row calls it; the measure's name unless given."""

    def __post_init__(self) -> None:
        """Mismatch where there is no such measure, or it takes no such argument."""
        if self.measure not in MEASURES:
            near = difflib.get_close_matches(self.measure, MEASURES, n=1)
            raise _unsound(f"there is no measure {self.measure!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        if not math.isfinite(self.weight) or self.weight == 0:
            raise _unsound(f"the weight of {self.measure} is {self.weight}")
        takes = [
            name for name in signature(MEASURES[self.measure]).parameters if name not in ("problem", "response", "text")
        ]
        if set(self.arguments) - set(takes):
            raise _unsound(f"{self.measure} takes {', '.join(takes) or 'no argument'}, not {', '.join(self.arguments)}")
        if not self.name:
            object.__setattr__(self, "name", self.measure)


@dataclass(frozen=True)
class Worth:
    """What one response is worth, and why: a row, found by id and sample."""

    id: str
    sample: int
    correct: bool
    """The binary reward; what accuracy and MGPO's p are made of."""
    outcome: str
    parts: Mapping[str, float]
    """Each term's measure, before its weight."""
    reward: float | None
    """None where the grader could not decide: to be left out, not to be taken for 0."""


@dataclass(frozen=True)
class Terms:
    """What is wished for beside being right, all of it together."""

    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        """Mismatch where the terms could outweigh being right, or two have one name."""
        names = [term.name for term in self.terms]
        if len(set(names)) < len(names):
            raise _unsound(f"two terms have one name among {', '.join(names)}")
        heavy = sum(abs(term.weight) for term in self.terms)
        if heavy >= 1:
            raise _unsound(f"the terms weigh {heavy:g} together, as much as being right or more")

    def parts(self, problem: Graded, response: str) -> dict[str, float]:
        """What each term measures of a response, before its weight."""
        return {t.name: MEASURES[t.measure](problem, response, **t.arguments) for t in self.terms}

    def worth(self, parts: Mapping[str, float]) -> float:
        """What measures add to the reward."""
        return sum(term.weight * parts[term.name] for term in self.terms)


@dataclass(frozen=True)
class Reward:
    """A grader and the terms beside it."""

    grader: Grader
    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        """Mismatch where the terms are unsound together."""
        Terms(self.terms)

    def of(self, problem: Graded, response: str, *, id: str, sample: int = 0) -> Worth:
        """The worth of one response."""
        grade, beside = self.grader(problem, response), Terms(self.terms)
        parts = beside.parts(problem, response)
        shaped = float(grade.correct) + beside.worth(parts)
        return Worth(id, sample, grade.correct, grade.outcome, parts, shaped if grade.decided else None)


def rewards(
    reward: Reward, problems: Mapping[str, Graded], responses: Mapping[str, Sequence[str]]
) -> dict[tuple[str, int], Worth]:
    """The worth of every response by problem id and sample. Mismatch where the two sides name other ids."""
    missing, unknown = sorted(problems.keys() - responses.keys()), sorted(responses.keys() - problems.keys())
    if missing or unknown:
        raise _unsound(
            f"{len(missing)} problems have no response and {len(unknown)} responses have no problem", *missing, *unknown
        )
    return keyed(
        reward.of(problems[id_], text, id=id_, sample=sample)
        for id_, texts in responses.items()
        for sample, text in enumerate(texts)
    )


def keyed(rows: Iterable[Worth]) -> dict[tuple[str, int], Worth]:
    """Rows by id and sample, whatever their order. Mismatch where one comes twice."""
    found: dict[tuple[str, int], Worth] = {}
    for row in rows:
        if (row.id, row.sample) in found:
            raise _unsound("two rows are of one response", f"{row.id} sample {row.sample}")
        found[row.id, row.sample] = row
    return found


def _unsound(what: str, *where: str) -> Mismatch:
    return Mismatch(what, where=", ".join(("reward", *where[:3])))
