"""Rows of graded samples as one item per problem, and the metrics of items with intervals clustered by problem.

A sample that the grader could not decide is neither right nor wrong: it is in no score, and it is counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import stdev

from posttrain.algos.passk import consensus, pass_at_k
from posttrain.algos.stats import Interval, bootstrap_means
from posttrain.data.records import Score
from posttrain.spec.gate import Metric

SEED = 0
"""Of every bootstrap over rows: a metric is a function of the rows alone, whoever computes it."""

_exactly = lru_cache(maxsize=None)(pass_at_k)


@dataclass(frozen=True)
class Item:
    """One problem of one suite, as its samples were graded."""

    suite: str
    id: str
    domain: str
    n: int
    """Samples that the grader decided."""
    c: int
    """Correct ones."""
    length: float
    """Mean tokens of a response."""
    truncated: float
    """Share of samples cut at the cap."""
    distinct: int
    """Different final answers."""
    consensus: float
    """cons@n: is the majority right."""
    undecided: int = 0
    """Samples that the grader could not find out about, in no score."""

    @property
    def asked(self) -> int:
        """All samples."""
        return self.n + self.undecided

    def score(self, k: int) -> float:
        """Pass@k of this problem; k = 1 is the share correct."""
        return _exactly(self.n, self.c, k)


def items(rows: Iterable[Score]) -> list[Item]:
    """One item per problem and suite, in order of first appearance."""
    grouped: dict[tuple[str, str], list[Score]] = {}
    for row in rows:
        grouped.setdefault((row.suite, row.id), []).append(row)
    return [_item(samples) for samples in grouped.values()]


def _item(rows: Sequence[Score]) -> Item:
    decided = [row for row in rows if row.decided]
    votes = [(row.answer if row.finish == "stop" else None, row.correct) for row in decided]
    first, n = rows[0], len(rows)
    return Item(
        suite=first.suite,
        id=first.id,
        domain=first.domain,
        n=len(decided),
        c=sum(row.correct for row in decided),
        length=sum(row.tokens for row in rows) / n,
        truncated=sum(row.finish == "length" for row in rows) / n,
        distinct=len({answer for answer, _ in votes if answer is not None}),
        consensus=consensus(votes),
        undecided=n - len(decided),
    )


def summary(of: Sequence[Item], ks: Sequence[int]) -> dict[str, Metric]:
    """pass@1, pass@k for each k, cons@n, truncated, length, distinct: means over problems with 95 % intervals.

    A sample that could not be graded counts in no score, and in `undecided`; a problem that so has fewer than k left
    drops out of pass@k, whose n counts the problems it is over; over less than half of them there is no score. A
    metric without a value says why.
    """
    wanted = sorted({1, *ks})
    if not of:
        return {name: Metric(None, "no problem was asked") for name in (*(f"pass@{k}" for k in wanted), "undecided")}
    fewest = min(item.asked for item in of)
    columns = {f"pass@{k}": [item.score(k) if item.n >= k else None for item in of] for k in wanted if k <= fewest}
    columns |= {
        f"cons@{max(item.asked for item in of)}": [item.consensus if item.n else None for item in of],
        "truncated": [item.truncated for item in of],
        "length": [item.length for item in of],
        "distinct": [float(item.distinct) for item in of],
    }
    found = _means(columns)
    found |= {f"pass@{k}": Metric(None, f"a problem has only {fewest} samples") for k in wanted if k > fewest}
    return found | {"undecided": undecided(of)}


def undecided(of: Sequence[Item]) -> Metric:
    """How many samples the grader could not find out about; n counts all samples."""
    return Metric(sum(item.undecided for item in of), n=sum(item.asked for item in of), unit="answers")


def _means(columns: Mapping[str, Sequence[float | None]]) -> dict[str, Metric]:
    """The mean of each column over the problems with a value in it; columns over the same ones are resampled alike.

    Where fewer than half have one there is no value: what was lost could say anything.
    """
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, values in columns.items():
        alike.setdefault(tuple(at for at, value in enumerate(values) if value is not None), []).append(name)
    units = {"length": "tokens", "distinct": "answers"}
    found: dict[str, Metric] = {}
    for over, names in alike.items():
        asked = len(columns[names[0]])
        if 2 * len(over) < asked:
            few = f"only {len(over)} of {asked} problems have enough samples that could be graded"
            found |= {name: Metric(None, few, n=len(over)) for name in names}
            continue
        told = bootstrap_means([[columns[name][at] or 0.0 for at in over] for name in names], seed=SEED)
        found |= {name: as_metric(each, units.get(name, "")) for name, each in zip(names, told, strict=True)}
    return {name: found[name] for name in columns}


def standard_errors(of: Sequence[Item]) -> dict[str, float | None]:
    """Standard error of pass@1, clustered by problem: of all items under "", of each domain under its name."""
    groups = {name: [i for i in each if i.n] for name, each in {"": list(of), **by_domain(of)}.items()}
    return {
        name: stdev(i.score(1) for i in each) / len(each) ** 0.5 if len(each) > 1 else None
        for name, each in groups.items()
    }


def by_domain(of: Sequence[Item]) -> Mapping[str, list[Item]]:
    """The items of each domain, domains in alphabetical order."""
    domains = sorted(Counter(item.domain for item in of))
    return {domain: [item for item in of if item.domain == domain] for domain in domains}


def as_metric(interval: Interval, unit: str = "") -> Metric:
    """An interval over problems as a metric; n counts problems."""
    return Metric(interval.value, n=interval.n, low=interval.low, high=interval.high, unit=unit)
