"""The second look at a data artifact, from its files alone: sides apart, exams apart, golds that hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from posttrain.algos.overlap import Index, digest, index
from posttrain.curate.filters import GROUP, accepted, leaked, question
from posttrain.data import rows
from posttrain.data.records import SPLITS, Problem
from posttrain.graders.registry import Grading
from posttrain.spec.errors import Mismatch

SIDES = ("train", "probe", "val", "test")


@dataclass(frozen=True)
class Audit:
    """What the files of an artifact hold."""

    counts: Mapping[str, int]
    """Rows of each split."""
    solutions: int
    rejected_solutions: int
    overlapping: int | None
    """Rows of train, probe and val that share an n-gram with an exam; None where none is compared."""
    bad_golds: int
    """Problems whose gold fails itself, or that keep a verified solution its grader refuses."""

    @property
    def problems(self) -> int:
        """Rows on all sides."""
        return sum(self.counts[name] for name in SIDES)


def audit(folder: Path, exams: Index | None, grading: Grading) -> Audit:
    """Read every split again. Mismatch where one problem stands on two sides."""
    splits = {name: rows.read_all(folder / f"{name}.jsonl", Problem) for name in SPLITS}
    _apart({name: splits[name] for name in SIDES}, dressed=exams is not None)
    overlapping = None
    if exams is not None:
        own = index(map(question, splits["test"]), n=exams.n)
        overlapping = sum(bool(leaked(p, (exams, own))) for name in SIDES[:-1] for p in splits[name])
    return Audit(
        counts={name: len(problems) for name, problems in splits.items()},
        solutions=sum(len(problem.solutions) for name in SIDES for problem in splits[name]),
        rejected_solutions=sum(len(problem.solutions) for problem in splits["rejects"]),
        overlapping=overlapping,
        bad_golds=_bad([problem for name in SIDES for problem in splits[name]], grading),
    )


def _apart(sides: Mapping[str, Sequence[Problem]], *, dressed: bool) -> None:
    """Two sides share no problem, equal when normalised.

    Where exams are compared, a problem of the test side in other dress elsewhere is `overlap`'s to count.
    """
    for one, other in combinations(sides, 2):
        loose = other == "test" and dressed
        name = (lambda problem: problem.prompt) if loose else (lambda problem: digest(problem.prompt))
        known = {name(problem): number for number, problem in enumerate(sides[one], start=1)}
        for number, problem in enumerate(sides[other], start=1):
            if name(problem) in known:
                raise Mismatch(
                    f"one problem stands on two sides: {one}.jsonl line {known[name(problem)]} and "
                    f"{other}.jsonl line {number}",
                    where=f"problem {problem.id}",
                    remedy="Make the data again.",
                )


def _bad(problems: Sequence[Problem], grading: Grading) -> int:
    """Problems whose gold fails itself, or that keep a verified solution their grader refuses."""
    bad = 0
    for start in range(0, len(problems), GROUP):
        group = problems[start : start + GROUP]
        golds = grading.self_checks(group)
        claimed = [
            problem.model_copy(update={"solutions": tuple(s for s in problem.solutions if s.verified)})
            for problem, holds in zip(group, golds, strict=True)
            if holds
        ]
        bad += golds.count(False) + sum(not all(right) for right in accepted(claimed, grading))
    return bad
