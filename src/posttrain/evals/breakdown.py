"""How the answers of an exam were graded, and what the programs among them show: counts, for people to look at."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from posttrain.data.records import Score
from posttrain.graders.code.signatures import signatures

Counts = Mapping[str, Mapping[str, int]]


def outcomes(rows: Iterable[Score]) -> Counts:
    """Domain → outcome → answers, commonest first; an answer that could not be decided counts by its outcome too."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row.domain, Counter())[row.outcome] += 1
    return {domain: dict(counted.most_common()) for domain, counted in sorted(found.items())}


def shown(rows: Iterable[Score], programs: Collection[str]) -> Counts:
    """Sign → outcome → programs that show it; `programs`: the ids of the problems whose answers are programs."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        for sign in signatures(row.answer or "", row.outcome) if row.id in programs else ():
            found.setdefault(sign, Counter())[row.outcome] += 1
    return {sign: dict(counted.most_common()) for sign, counted in sorted(found.items())}
