"""Two exams on the same items: the paired gain, item by item, with its interval over items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posttrain.algos.stats import bootstrap_means
from posttrain.data.records import Gain
from posttrain.evals.tally import SEED, Item, as_metric
from posttrain.spec.errors import Mismatch, UsageError
from posttrain.spec.gate import Metric

NOTHING = "there is nothing to compare with"


@dataclass(frozen=True)
class Pair:
    """One member after, and what it is held against."""

    member: str
    """The axis value of the member after; empty where it has none."""
    before: Sequence[Item]
    after: Sequence[Item]
    domains: Sequence[str] = ()
    """Only the items of these domains; empty: all."""


def largest_k(pairs: Sequence[Pair]) -> int:
    """The largest K that every problem of both sides was asked for."""
    return min((item.asked for pair in pairs for side in (pair.before, pair.after) for item in side), default=1)


def gains(pairs: Sequence[Pair], *, k: int) -> list[Gain]:
    """One row per member and item: Pass@k before and after; k = 1 is the share of samples that are right.

    An item has no score on a side that has fewer than k samples of it that could be graded. Mismatch where the two
    sides hold other items; UsageError where an item was asked fewer than k times.
    """
    most = largest_k(pairs)
    if k > most:
        raise UsageError(f"k = {k}, and an item of these exams has only {most} samples", where="compare.k")
    return [row for pair in pairs for row in _rows(pair, k)]


def _rows(pair: Pair, k: int) -> list[Gain]:
    before, after = _of(pair.before, pair.domains), _of(pair.after, pair.domains)
    _same_items(before, after, pair)
    return [
        Gain(id=key[1], domain=there.domain, member=pair.member, before=_score(before[key], k), after=_score(there, k))
        for key, there in after.items()
    ]


def _score(item: Item, k: int) -> float | None:
    return item.score(k) if item.n >= k else None


def _of(items: Sequence[Item], domains: Sequence[str]) -> dict[tuple[str, str], Item]:
    return {(item.suite, item.id): item for item in items if not domains or item.domain in domains}


def _same_items(before: Mapping[tuple[str, str], Item], after: Mapping[tuple[str, str], Item], pair: Pair) -> None:
    where = "compare" + (f", member {pair.member}" if pair.member else "")
    held = {item.domain for side in (before, after) for item in side.values()}
    lacking = [domain for domain in pair.domains if domain not in held]
    if lacking or not held:
        raise Mismatch(f"neither side has an item{_named(lacking)}", where=where)
    lonely = [(key, "before") for key in before if key not in after]
    lonely += [(key, "after") for key in after if key not in before]
    if lonely:
        (suite, item), side = lonely[0]
        raise Mismatch(
            f"the two exams have other items: {item} of suite {suite} stands only on the side {side}"
            f" ({len(before)} items before, {len(after)} after{_named(pair.domains)})",
            where=where,
            remedy="Give both exams the same data, suites and max_problems.",
        )


def _named(domains: Sequence[str]) -> str:
    return f" of the domain{'s' * (len(domains) > 1)} {', '.join(domains)}" if domains else ""


def summary(rows: Sequence[Gain]) -> dict[str, Metric]:
    """gain, before and after with 95 % intervals over items; each domain's gain as gain/DOMAIN; undecided.

    An item asked of several members counts once, with the mean over its members. A row without a score on either side
    is in none of them, so that both sides are of the same items; `undecided` counts such rows.
    """
    found = _means(rows)
    lost = sum(row.before is None or row.after is None for row in rows)
    found["undecided"] = Metric(lost, n=len(rows), unit="items") if rows else Metric(None, NOTHING)
    for domain in sorted({row.domain for row in rows}):
        found[f"gain/{domain}"] = _means([row for row in rows if row.domain == domain])["gain"]
    return found


def _means(rows: Sequence[Gain]) -> dict[str, Metric]:
    members: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row.before is not None and row.after is not None:
            members.setdefault((row.domain, row.id), []).append((row.before, row.after))
    if not members:
        why = "no item has a score on both sides" if rows else NOTHING
        return {name: Metric(None, why) for name in ("gain", "before", "after")}
    each = [(sum(b for b, _ in same) / len(same), sum(a for _, a in same) / len(same)) for same in members.values()]
    before, after = [b for b, _ in each], [a for _, a in each]
    columns = [[a - b for b, a in each], before, after]
    intervals = bootstrap_means(columns, seed=SEED)
    return {name: as_metric(found) for name, found in zip(("gain", "before", "after"), intervals, strict=True)}
