"""The learning table: what each model of a run scores on the same held-out problems, and the judged differences.

A row is one `evaluate` stage. A stage with a member for each domain sits every member on its own domain, and the row
pools them: the mean weighted by problems, its interval the members' half-widths combined in quadrature, since the
domains' problems are disjoint.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from posttrain.reports.view import NodeView, View
from posttrain.spec.gate import Metric, Verdict

_PASS = re.compile(r"^pass@(\d+)(?:[./: ](.+))?$")


@dataclass(frozen=True)
class Row:
    """One model, or one group of members, on the exam."""

    label: str
    model: str
    """The node or nodes whose output was examined."""
    exam: str
    own: bool
    """Each member on its own domain only."""
    scores: Mapping[int, Metric]
    """k → Pass@k over all problems."""
    domains: Mapping[str, Mapping[int, Metric]]
    """domain → k → Pass@k."""


@dataclass(frozen=True)
class Comparison:
    """One judged difference."""

    node: str
    label: str
    of: str
    """What was compared: `pass@1`."""
    gain: Metric | None
    verdicts: tuple[Verdict, ...]

    @property
    def bound(self) -> float | None:
        """The number of its first gate's condition."""
        return bound(self.verdicts[0]) if self.verdicts else None


@dataclass(frozen=True)
class Learning:
    """The table: columns `ks`, rows in the order of the pipeline, comparisons, domains."""

    ks: tuple[int, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    domains: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether any score is on record."""
        return any(row.scores for row in self.rows)


def bound(verdict: Verdict) -> float | None:
    """The number in a verdict's condition; None where the text has none."""
    *_, last = verdict.condition.split() or [""]
    try:
        return float(Decimal(last))
    except ArithmeticError:
        return None


def learning(view: View) -> Learning:
    """The table of a run; rows without a finished exam stand in it without scores."""
    rows = tuple(_row(view, stage) for stage in _stages(view, "evaluate"))
    found = sorted({k for row in rows for k in row.scores})
    ks = tuple(dict.fromkeys((found[0], found[-1]))) if found else ()
    domains = tuple(dict.fromkeys(name for row in rows for name in row.domains))
    comparisons = tuple(_comparison(view, node, domains) for node in view.of_kind("compare"))
    return Learning(ks, rows, comparisons, domains)


def matrix(view: View, k: int) -> tuple[tuple[str, Mapping[str, Metric]], ...]:
    """Every examined model by domain: exam node → domain → Pass@k."""
    found: list[tuple[str, Mapping[str, Metric]]] = []
    for stage in _stages(view, "evaluate"):
        for node in view.members(stage):
            scores = {domain: by_k[k] for domain, by_k in _by_domain(node).items() if k in by_k}
            found.append((node.id.removeprefix("exam_"), scores))
    return tuple(found)


def _stages(view: View, kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(node.stage for node in view.of_kind(kind)))


def _row(view: View, stage: str) -> Row:
    members = view.members(stage)
    own = any(node.member for node in members)
    by_domain: dict[str, Mapping[int, Metric]] = {}
    for node in members:
        for domain, scores in _by_domain(node).items():
            if not own or domain in node.axes.values():
                by_domain[domain] = scores
    scores = _pooled(by_domain.values()) if own else _overall(members[0])
    read = [source.node for node in members for source in node.sources if source.role == "model"]
    model = read[0] if len(read) == 1 else " ".join(sorted({f"{name.split('/')[0]}/*" for name in read}))
    return Row(stage.removeprefix("exam_"), model, stage, own, scores, by_domain)


def _overall(node: NodeView) -> dict[int, Metric]:
    found = {int(m[1]): value for name, value in node.metrics.items() if (m := _PASS.match(name)) and not m[2]}
    return dict(sorted(found.items()))


def _by_domain(node: NodeView) -> dict[str, dict[int, Metric]]:
    found: dict[str, dict[int, Metric]] = {}
    for name, value in node.metrics.items():
        if (m := _PASS.match(name)) and m[2]:
            found.setdefault(m[2], {})[int(m[1])] = value
    return found


def _pooled(parts: Iterable[Mapping[int, Metric]]) -> dict[int, Metric]:
    given = list(parts)
    first: Mapping[int, Metric] = given[0] if given else {}
    return {k: pooled([part[k] for part in given]) for k in first if all(k in part for part in given)}


def pooled(parts: Sequence[Metric]) -> Metric:
    """The mean of disjoint groups weighted by items, half-widths in quadrature; unknown where one is unknown."""
    values = [(m.value, m.n or 0) for m in parts if m.value is not None]
    total = sum(n for _, n in values)
    if len(values) < len(parts) or not total:
        return Metric(None, reason="one of its parts has no value")
    mean = sum(value * n for value, n in values) / total
    down = [(m.n or 0) / total * (m.value - m.low) for m in parts if m.value is not None and m.low is not None]
    up = [(m.n or 0) / total * (m.high - m.value) for m in parts if m.value is not None and m.high is not None]
    whole = len(down) == len(up) == len(parts)
    low, high = (mean - math.hypot(*down), mean + math.hypot(*up)) if whole else (None, None)
    return Metric(mean, n=total, low=low, high=high, unit=parts[0].unit)


def _comparison(view: View, node: NodeView, domains: Sequence[str]) -> Comparison:
    verdicts = view.judged(node.id)
    names = [_side(node, role) for role in ("before", "after")]
    label = f"{names[0]} → {names[1]}" if all(names) else node.stage
    of = (node.member,) if node.member else tuple(map(str, node.knobs.get("domains") or ()))
    label = f"{label}, {_listed(of, domains)}" if of else label
    return Comparison(node.id, label, _compared(node), node.metrics.get("gain"), verdicts)


def _listed(of: Sequence[str], domains: Sequence[str]) -> str:
    """Domains by name, or those that are left out, where they are fewer."""
    left = [domain for domain in domains if domain not in of]
    return f"all but {', '.join(left)}" if 0 < len(left) < len(of) - 1 else ", ".join(of)


def _compared(node: NodeView) -> str:
    """The score that was compared: `pass@8`; its K stands in the artifact's report where the recipe leaves it open."""
    metric, k = str(node.knobs.get("metric", "pass@1")), node.knobs.get("k")
    if metric == "pass@k" and k is None and node.folder is not None:
        try:
            k = json.loads((node.folder / "report.json").read_text("utf-8"))["k"]
        except (OSError, ValueError, KeyError, TypeError):
            k = None
    return f"pass@{k}" if metric == "pass@k" and k else metric


def _side(node: NodeView, role: str) -> str:
    """The exams of one side, by the names of their stages."""
    stages = dict.fromkeys(source.node.partition("/")[0] for source in node.sources if source.role == role)
    return " ".join(stage.removeprefix("exam_") for stage in stages)
