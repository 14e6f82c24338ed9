"""Whether a text does what it was asked to: strictly or loosely, each constraint alone and all of an item together."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from posttrain.algos.stats import Interval, wilson
from posttrain.graders.base import Grade, Graded
from posttrain.graders.instructions.kinds import KINDS
from posttrain.spec.errors import Mismatch

RELATIONS = ("at least", "less than")
"""How a count is compared."""

COMBINED = ("all", "any", "not")
"""Constraints that are made of others."""


@dataclass(frozen=True)
class Constraint:
    """One thing asked of a text; `all`, `any` and `not` are made of others."""

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    of: tuple["Constraint", ...] = ()

    def __post_init__(self) -> None:
        """Mismatch where the kind is unknown or its arguments are not the ones it takes."""
        if self.kind in COMBINED:
            if self.arguments or not self.of or (self.kind == "not" and len(self.of) != 1):
                raise _unsound(self, f"`{self.kind}` takes constraints and nothing else, `not` one")
            return
        if self.kind not in KINDS:
            near = difflib.get_close_matches(self.kind, [*KINDS, *COMBINED], n=1)
            raise _unsound(self, "there is no such kind" + (f"; did you mean {near[0]!r}?" if near else ""))
        wanted = KINDS[self.kind].arguments
        if self.of or set(self.arguments) != set(wanted):
            raise _unsound(self, f"it takes {', '.join(wanted) or 'no argument'}")
        for name, of_type in wanted.items():
            value = self.arguments[name]
            if not isinstance(value, of_type) or isinstance(value, bool):
                raise _unsound(self, f"{name} = {value!r} is of the wrong type")
            if name.endswith("relation") and value not in RELATIONS:
                raise _unsound(self, f"{name} = {value!r} is neither of {', '.join(RELATIONS)}")

    def holds(self, text: str) -> bool:
        """Whether a text follows, as it stands; a blank one follows nothing, `not` included."""
        if not text.strip():
            return False
        if self.kind == "not":
            return not self.of[0].holds(text)
        if self.kind in COMBINED:
            return (all if self.kind == "all" else any)(part.holds(text) for part in self.of)
        return KINDS[self.kind].check(text, **self.arguments)


def constraints(kinds: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> tuple[Constraint, ...]:
    """The constraints of a row of IFEval (`instruction_id_list`, `kwargs`); arguments that are null are left out."""
    if len(kinds) != len(arguments):
        raise Mismatch(f"{len(kinds)} kinds stand beside {len(arguments)} sets of arguments", where="constraints")
    given = ({name: value for name, value in each.items() if value is not None} for each in arguments)
    return tuple(Constraint(kind, each) for kind, each in zip(kinds, given, strict=True))


@dataclass(frozen=True)
class Followed:
    """Which constraints of one item a response follows, in their order."""

    strict: tuple[bool, ...]
    """The response as it stands."""
    loose: tuple[bool, ...]
    """Any of its loose variants."""

    @property
    def all_strict(self) -> bool:
        """Prompt level."""
        return all(self.strict)

    @property
    def all_loose(self) -> bool:
        """Prompt level, loosely."""
        return all(self.loose)

    @property
    def share(self) -> float:
        """Part of the constraints followed strictly: a shaping reward."""
        return sum(self.strict) / len(self.strict)


def follow(text: str, asked: Sequence[Constraint]) -> Followed:
    """Check every constraint of an item; Mismatch where it has none."""
    if not asked:
        raise Mismatch("there is no constraint to check", where="instructions")
    strict = tuple(each.holds(text) for each in asked)
    variants = loosened(text)
    loose = tuple(done or any(each.holds(v) for v in variants) for done, each in zip(strict, asked, strict=True))
    return Followed(strict, loose)


def loosened(text: str) -> tuple[str, ...]:
    """The text whole, without its first line, its last, or both; each as it is and without `*`."""
    lines = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return tuple(dict.fromkeys([*cut, *(each.replace("*", "") for each in cut)]))


class Asking(Graded):
    """A problem whose answer is judged by constraints."""

    @property
    def constraints(self) -> Sequence[Constraint]:
        """What is asked of the response."""
        ...


def grade(problem: Asking, text: str) -> Grade:
    """Right where every constraint is followed strictly: the binary reward."""
    followed = follow(text, problem.constraints)
    return Grade(correct=followed.all_strict, outcome="right" if followed.all_strict else "wrong", answer=None)


@dataclass(frozen=True)
class Levels:
    """How often instructions are followed: of prompts (all of one), of instructions (each)."""

    prompt_strict: Interval
    prompt_loose: Interval
    instruction_strict: Interval
    instruction_loose: Interval
    by_kind: Mapping[str, Interval]
    """Strictly, kind by kind."""


def levels(items: Iterable[tuple[Sequence[Constraint], Followed]]) -> Levels:
    """The scores of an exam, each with its Wilson interval. Mismatch where there is no item.

    Instructions of one prompt are not independent: the intervals on their level are too narrow.
    """
    asked = list(items)
    if not asked:
        raise Mismatch("there is no response to score", where="instructions")
    kinds: dict[str, list[bool]] = {}
    for wanted, followed in asked:
        for each, done in zip(wanted, followed.strict, strict=True):
            kinds.setdefault(each.kind, []).append(done)
    return Levels(
        prompt_strict=_share([f.all_strict for _, f in asked]),
        prompt_loose=_share([f.all_loose for _, f in asked]),
        instruction_strict=_share([done for _, f in asked for done in f.strict]),
        instruction_loose=_share([done for _, f in asked for done in f.loose]),
        by_kind={kind: _share(done) for kind, done in sorted(kinds.items())},
    )


@dataclass(frozen=True)
class Preferred:
    """Two responses to one prompt: the first follows all, the second breaks something."""

    chosen: str
    rejected: str
    broken: tuple[int, ...]
    """Places of the constraints that the second breaks."""


def prefer(responses: Sequence[str], asked: Sequence[Constraint]) -> Preferred | None:
    """The pair nearest in length of a response that follows all strictly and one that breaks some even loosely.

    None where one of the two is missing. Near in length, so that length is not what the pair teaches.
    """
    judged = [(text, follow(text, asked)) for text in dict.fromkeys(responses)]
    good = [text for text, followed in judged if followed.all_strict]
    bad = [(text, followed) for text, followed in judged if not followed.all_loose and text.strip()]
    if not good or not bad:
        return None
    chosen, (rejected, followed) = min(
        ((one, other) for one in good for other in bad), key=lambda pair: abs(len(pair[0]) - len(pair[1][0]))
    )
    return Preferred(chosen, rejected, tuple(at for at, done in enumerate(followed.loose) if not done))


def _share(done: Sequence[bool]) -> Interval:
    return wilson(sum(done), len(done))


def _unsound(constraint: Constraint, why: str) -> Mismatch:
    return Mismatch(f"{why}", where=f"constraint {constraint.kind!r}", remedy=f"Known kinds: {', '.join(KINDS)}.")
