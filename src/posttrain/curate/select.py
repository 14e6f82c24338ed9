"""The splits of a data artifact: as many problems as asked on each side, none of which an exam holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from posttrain.algos.overlap import Index, index
from posttrain.curate.filters import Log, clean, question, verified
from posttrain.curate.sources import Source
from posttrain.curate.worlds import SHARES, Side
from posttrain.data.records import Problem
from posttrain.graders.registry import Grading
from posttrain.spec.errors import Mismatch


@dataclass(frozen=True)
class Want:
    """What one side shall hold."""

    problems: int | None
    """How many; None: all there are, at least one."""
    solutions: int | None = 0
    """The first so many of each problem; None: all it has."""


def select(
    source: Source, wants: Mapping[Side, Want], *, exams: Index | None, log: Log, grading: Grading, domain: str
) -> Mapping[Side, list[Problem]]:
    """Problems for every side, the exam of the test side first: nothing on another side shares an n-gram with it.

    `exams` holds the user's own exams; None: no side is compared with any exam. Mismatch where a side has too few.
    """
    size = wants["test"].problems
    test = _enough("test", verified(_shortened(source("test"), 0), log, grading, most=size), size, domain, log)
    known = () if exams is None else (exams, index(map(question, test), n=exams.n))
    found: dict[Side, list[Problem]] = {"test": test}
    for side, want in wants.items():
        if side not in found:
            fit = _shortened(clean(source(side), known, log), want.solutions)
            found[side] = _enough(side, verified(fit, log, grading, most=want.problems), want.problems, domain, log)
    return found


def _shortened(problems: Iterable[Problem], solutions: int | None) -> Iterable[Problem]:
    return (problem.model_copy(update={"solutions": problem.solutions[:solutions]}) for problem in problems)


def _enough(side: Side, problems: Iterable[Problem], size: int | None, domain: str, log: Log) -> list[Problem]:
    found = list(problems)
    if len(found) < (size or 0) or (size is None and not found):
        raise Mismatch(
            f"{size or 1} problems are needed on the {side} side, {len(found)} are available{_left_out(log)}",
            where=f"domain {domain}",
            remedy=(
                "Ask for fewer, or bring a larger source: "
                f"of a file, about {SHARES[side]} in 100 problems lie on that side."
            ),
        )
    return found


def _left_out(log: Log) -> str:
    """How many rows were left out so far, and why."""
    counts = {
        "cannot be graded": len(log.unread),
        "equal an earlier one": log.duplicates,
        "share words with an exam": len(log.leaks),
        "fail their grader": len(log.rejected),
    }
    told = ", ".join(f"{count} {why}" for why, count in counts.items() if count)
    return f"; left out so far: {told}" if told else ""
