"""The splits of a data artifact: as many problems as asked on each side, none of which an exam holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from posttrain.algos.overlap import Index, index
from posttrain.curate.filters import Log, clean, verified
from posttrain.curate.sources import Source
from posttrain.curate.worlds import Side
from posttrain.data.records import Problem
from posttrain.spec.errors import Mismatch

LEARNT: tuple[Side, ...] = ("train", "val")
"""The sides that keep solutions: what is trained, and what its loss is taken on."""


@dataclass(frozen=True)
class Sizes:
    """Problems on each side; None: all there are."""

    train: int | None
    probe: int
    val: int
    test: int


def select(
    source: Source, sizes: Sizes, *, solutions: int, exams: Index | None, log: Log, domain: str
) -> Mapping[Side, list[Problem]]:
    """Problems for every side, the exam of the test side first: nothing on another side shares an n-gram with it.

    `exams` holds the user's own exams; None: no side is compared with any exam. Mismatch where a side has too few.
    """
    test = _take("test", _golds(source("test"), log), sizes.test, domain)
    known = () if exams is None else (exams, index((problem.prompt for problem in test), n=exams.n))

    def side(name: Side, size: int | None) -> list[Problem]:
        found = clean(source(name), known, log)
        kept = verified(_shortened(found, solutions), log) if name in LEARNT else _golds(found, log)
        return _take(name, kept, size, domain)

    return {
        "train": side("train", sizes.train),
        "probe": side("probe", sizes.probe),
        "val": side("val", sizes.val),
        "test": test,
    }


def _shortened(problems: Iterable[Problem], solutions: int) -> Iterable[Problem]:
    return (problem.model_copy(update={"solutions": problem.solutions[:solutions]}) for problem in problems)


def _golds(problems: Iterable[Problem], log: Log) -> Iterable[Problem]:
    return verified(_shortened(problems, 0), log)


def _take(side: Side, problems: Iterable[Problem], size: int | None, domain: str) -> list[Problem]:
    found = list(islice(problems, size))
    if len(found) < (size or 0) or (size is None and not found):
        raise Mismatch(
            f"{size or 1} problems are needed on the {side} side, {len(found)} are available",
            where=f"domain {domain}",
            remedy="Ask for fewer, or bring a larger source.",
        )
    return found
