"""Rows of graded samples as one item per problem, and the metrics of items with intervals clustered by problem."""

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
    """Samples."""
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
    votes = [(row.answer if row.finish == "stop" else None, row.correct) for row in rows]
    first, n = rows[0], len(rows)
    return Item(
        suite=first.suite,
        id=first.id,
        domain=first.domain,
        n=n,
        c=sum(row.correct for row in rows),
        length=sum(row.tokens for row in rows) / n,
        truncated=sum(row.finish == "length" for row in rows) / n,
        distinct=len({answer for answer, _ in votes if answer is not None}),
        consensus=consensus(votes),
    )


def summary(of: Sequence[Item], ks: Sequence[int]) -> dict[str, Metric]:
    """pass@1, pass@k for each k, cons@n, truncated, length and distinct: means over problems with 95 % intervals.

    A metric that these items cannot give has no value and says why; without items none has.
    """
    if not of:
        return {name: Metric(None, "no problem was asked") for name in ("pass@1", *(f"pass@{k}" for k in ks))}
    fewest = min(item.n for item in of)
    wanted = sorted({1, *ks})
    columns = {f"pass@{k}": [item.score(k) for item in of] for k in wanted if k <= fewest}
    columns |= {
        f"cons@{max(item.n for item in of)}": [item.consensus for item in of],
        "truncated": [item.truncated for item in of],
        "length": [item.length for item in of],
        "distinct": [float(item.distinct) for item in of],
    }
    intervals = bootstrap_means(list(columns.values()), seed=SEED)
    units = {"length": "tokens", "distinct": "answers"}
    found = {name: as_metric(each, units.get(name, "")) for name, each in zip(columns, intervals, strict=True)}
    short = {f"pass@{k}": Metric(None, f"a problem has only {fewest} samples") for k in wanted if k > fewest}
    return found | short


def standard_errors(of: Sequence[Item]) -> dict[str, float | None]:
    """Standard error of pass@1, clustered by problem: of all items under "", of each domain under its name."""
    groups = {"": list(of), **by_domain(of)}
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
