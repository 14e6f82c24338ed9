"""Curves of what stages emitted step by step, and the faults that show in them."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import cast

from posttrain.reports.charts.plot import Series
from posttrain.reports.view import STEP, NodeView, View

_POINTS = 120
"""A longer curve is drawn as this many means of equal stretches."""

_FIRST = tuple(
    re.compile(pattern)
    for pattern in (
        r"^reward$",
        r"^val_pass@1$",
        r"^val_pass@\d+$",
        r"^loss$",
        r"^val_loss$",
        r"^kl$",
        r"^entropy$",
        r"^length$",
        r"^zero_variance$",
    )
)
"""What is drawn before everything else, in this order."""


_COUNTED = ("outcomes", "signs")
"""What a step counts under names of its own: `outcomes/right`; a name that a step does not have is 0 there."""


@dataclass(frozen=True)
class Chart:
    """One metric of one kind of stage; its nodes are its lines."""

    kind: str
    metric: str
    series: tuple[Series, ...]
    stretch: int
    """Steps that one point is the mean of."""
    first: bool
    """Among the metrics that matter most."""


@dataclass(frozen=True)
class Finding:
    """A fault seen in the steps of a node."""

    node: str
    text: str


def charts(view: View) -> tuple[Chart, ...]:
    """One chart for each kind of stage that trains and each number it emitted at two or more steps."""
    found: list[Chart] = []
    for kind in dict.fromkeys(node.kind for node in view.nodes.values() if view.steps.get(node.id)):
        if kind == "probe":
            continue
        nodes = [node for node in view.of_kind(kind) if view.steps.get(node.id)]
        starts, told = _starts(view, nodes), {node.id: _spread(view.steps[node.id]) for node in nodes}
        for metric in _metrics(told.values()):
            chart = _chart(told, nodes, starts, metric)
            if sum(len(one.points) for one in chart.series) > 1:
                found.append(chart)
    return tuple(found)


def _rank(metric: str) -> tuple[int, str]:
    return next((i for i, pattern in enumerate(_FIRST) if pattern.match(metric)), len(_FIRST)), metric


def _spread(records: Sequence[STEP]) -> tuple[STEP, ...]:
    """Steps with what they count by name, each as a number of the step."""
    names: dict[str, dict[str, int]] = {
        counted: dict.fromkeys(sorted({name for record in records for name in _table(record, counted)}), 0)
        for counted in _COUNTED
    }
    return tuple(
        {
            **record,
            **{
                f"{counted}/{name}": n
                for counted, none in names.items()
                if counted in record
                for name, n in {**none, **_table(record, counted)}.items()
            },
        }
        for record in records
    )


def _table(record: STEP, counted: str) -> Mapping[str, int]:
    found = record.get(counted)
    return cast("Mapping[str, int]", found) if isinstance(found, dict) else {}


def _metrics(told: Iterable[Sequence[STEP]]) -> list[str]:
    seen: dict[str, None] = {}
    for records in told:
        for record in records:
            seen.update((name, None) for name, value in record.items() if name != "step" and _number(value) is not None)
    return sorted(seen, key=_rank)


def _starts(view: View, nodes: Sequence[NodeView]) -> dict[str, float]:
    """Where on the axis a node's step 0 lies: after the steps of the node of its kind that it continues."""
    ids = {node.id: node for node in nodes}
    starts: dict[str, float] = {}
    for node in nodes:
        before = next((s.node for s in node.sources if s.role == "model" and s.node in ids), None)
        last = max((_step(record) for record in view.steps[before]), default=0.0) if before else 0.0
        starts[node.id] = starts.get(before, 0.0) + last if before else 0.0
    return starts


def _chart(
    told: Mapping[str, Sequence[STEP]], nodes: Sequence[NodeView], starts: Mapping[str, float], metric: str
) -> Chart:
    series: list[Series] = []
    stretch = 1
    for node in nodes:
        points = [
            (starts[node.id] + _step(record), _number(record[metric])) for record in told[node.id] if metric in record
        ]
        if points:
            width = math.ceil(len(points) / _POINTS)
            stretch = max(stretch, width)
            marks = len(points) < len(told[node.id]) / 2 or len(points) < 6
            series.append(Series(node.member or node.stage, _means(points, width), marks=marks))
    return Chart(nodes[0].kind, metric, tuple(series), stretch, _rank(metric)[0] < len(_FIRST))


def _means(points: Sequence[tuple[float, float | None]], width: int) -> tuple[tuple[float, float | None], ...]:
    if width == 1:
        return tuple(points)
    found: list[tuple[float, float | None]] = []
    for i in range(0, len(points), width):
        group = points[i : i + width]
        known = [y for _, y in group if y is not None and math.isfinite(y)]
        found.append((group[-1][0], fmean(known) if len(known) == len(group) else None))
    return tuple(found)


def _step(record: STEP) -> float:
    return _number(record.get("step")) or 0.0


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return math.nan if value in ("nan", "NaN", "inf", "-inf", "Infinity", "-Infinity") else None


def findings(view: View) -> tuple[Finding, ...]:
    """Numbers that are not numbers, and steps without any gradient, by node."""
    found: list[Finding] = []
    for node, records in view.steps.items():
        broken: dict[str, list[int]] = {}
        still: list[int] = []
        for record in records:
            step = int(_step(record))
            for name, value in record.items():
                number = _number(value)
                if number is not None and not math.isfinite(number):
                    broken.setdefault(name, []).append(step)
            if record.get("loss", 0) is None and record.get("trained", 1):
                broken.setdefault("loss", []).append(step)
            if record.get("grad_norm") == 0:
                still.append(step)
        found += [Finding(node, f"{name} is not a finite number at {_steps(steps)}") for name, steps in broken.items()]
        if still:
            found.append(Finding(node, f"the gradient is zero at {_steps(still)}: nothing was learned there"))
    return tuple(found)


def _steps(steps: Sequence[int]) -> str:
    if len(steps) == 1:
        return f"step {steps[0]}"
    return f"{len(steps)} steps, first {steps[0]}, last {steps[-1]}"
