"""What a comparison can tell before it is made: its items, their spread, the difference it detects."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.algos.chance import detectable
from posttrain.algos.passk import pass_at_k
from posttrain.spec.stage import Foreseen

SPREAD = 0.30
"""Standard deviation of one item's difference where the exams have not been sat (specification §2.2)."""

Counts = dict[tuple[str, str], tuple[int, int]]
"""(samples, correct) of each (suite, item)."""


@dataclass(frozen=True)
class Expected:
    """Two exams to come, or sat already."""

    before: Foreseen
    after: Foreseen
    domains: Sequence[str] = ()
    """Only the items of these domains; empty: all."""


def power(pairs: Sequence[Expected], *, k: int | None) -> str:
    """One sentence: the difference that this comparison tells from none with power 80 %."""
    n = _items(pairs)
    if n == 0:
        return "detects a difference of 2.8 · sd / √items; how many items is not known yet"
    gaps = [gap for pair in pairs for gap in differences(pair, k=k)]
    sd, source = (statistics.stdev(gaps), "measured") if len(gaps) > 1 else (SPREAD, "assumed")
    return f"detects a difference of {detectable(sd, n):.3f}: {n} items, sd {sd:.2f} {source}"


def _items(pairs: Sequence[Expected]) -> int:
    """How many items there are, one asked of several members counted once; 0 where this is not known yet."""
    most: dict[str | None, int] = {}
    for pair in pairs:
        for domain in pair.domains or (None,):
            count = item_count(pair.after, domain)
            if count is None:
                return 0
            most[domain] = max(most.get(domain, 0), count)
    return sum(most.values())


def item_count(exam: Foreseen, domain: str | None) -> int | None:
    """How many items an exam has, or will have by the knobs of its data; None where these do not say."""
    if exam.artifact:
        counted = exam.artifact.metrics.get(f"pass@1/{domain}" if domain else "pass@1")
        return counted.n if counted else None
    sizes = [_size(exam, data, domain) for data in exam.inputs.get("data", ())]
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None


def _size(exam: Foreseen, data: Foreseen, domain: str | None) -> int | None:
    holds = data.knobs.get("domain") or data.axes.get("domain")
    if domain and holds and holds != domain:
        return 0
    most = exam.knobs.get("max_problems")
    total = 0
    for suite in exam.knobs.get("suites", ()):
        size = data.knobs.get(f"{_split(suite)}_size")
        if not isinstance(size, int):
            return None
        total += size if most is None else min(size, most)
    return total or None


def _split(suite: Any) -> str:
    """The split of a suite, given as a table or as the value made of it."""
    return suite.get("split", "test") if isinstance(suite, dict) else getattr(suite, "split", "test")


def differences(pair: Expected, *, k: int | None) -> list[float]:
    """After - before of each item where both exams have been sat, else nothing; K is the largest unless given."""
    if not (pair.before.artifact and pair.after.artifact):
        return []
    before, after = (_counts(exam, pair.domains) for exam in (pair.before, pair.after))
    most = min((n for side in (before, after) for n, _ in side.values()), default=1)
    of = min(k or most, most)
    return [pass_at_k(*after[item], of) - pass_at_k(*before[item], of) for item in after if item in before]


def _counts(exam: Foreseen, domains: Sequence[str]) -> Counts:
    """None of an item without a graded sample, nor of an exam that is a folder of the user's own without a report."""
    assert exam.artifact is not None
    path = exam.artifact.file("report.json")
    if not path.is_file():
        return {}
    report = json.loads(path.read_text(encoding="utf-8"))
    return {(suite, item): (n, c) for suite, item, of, n, c in report["items"] if n and (not domains or of in domains)}
