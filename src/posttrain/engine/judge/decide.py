"""What the condition of a gate says of a metric, and of what others say the metric is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from posttrain.spec.gate import CONDITIONS, Gate, Metric, Value

Said = tuple[Value, str]
"""A verdict and its sentence."""

MUST = {"at_least": "{} or more", "at_most": "{} or less", "equals": "{}"}
"""A condition as it reads after `must be`."""


def decide(gate: Gate, metric: Metric | None) -> Said:
    """What the condition says of a metric, before anything that stands above it."""
    missing = _unknown(gate, metric)
    if metric is None or missing:
        return "inconclusive", missing
    value, said = _by_interval(gate, metric) if gate.decide == "interval" else _by_point(gate, metric)
    return value, f"{said}: {metric.detail}" if metric.detail and value != "pass" else said


def condition(gate: Gate) -> tuple[str, Decimal]:
    """The one condition of a gate: its name and its bound as written."""
    return next((name, bound) for name in CONDITIONS if (bound := getattr(gate, name)) is not None)


def _unknown(gate: Gate, metric: Metric | None) -> str:
    """Why nothing can be said; empty where something can."""
    if metric is None:
        return f"{gate.metric} was not measured"
    if metric.value is None:
        return f"{gate.metric} has no value: {metric.reason}"
    if not math.isfinite(metric.value):
        return f"{gate.metric} is not a finite number"
    if gate.min_n and metric.n is None:
        return f"{gate.metric} does not say of how many items; at least {gate.min_n} are needed"
    if metric.n is not None and metric.n < gate.min_n:
        return f"{gate.metric} has {metric.n} items; at least {gate.min_n} are needed"
    return ""


def _by_point(gate: Gate, metric: Metric) -> Said:
    if metric.k is not None and metric.n:
        value, shown = Fraction(metric.k, metric.n), f"{metric.k}/{metric.n}"
    else:
        value, shown = Fraction(Decimal(repr(metric.value))), f"{metric.value:g}"
    name, bound = condition(gate)
    met = _meets(name, value, Fraction(bound))
    text = f"{gate.metric} is {shown}"
    if met:
        return "pass", f"{text}, {name} {bound}"
    return gate.unmet, f"{text} and must be {MUST[name].format(bound)}"


def _by_interval(gate: Gate, metric: Metric) -> Said:
    name, bound = condition(gate)
    if metric.low is None or metric.high is None or not math.isfinite(metric.low) or not math.isfinite(metric.high):
        return "inconclusive", f"{gate.metric} has no interval"
    low, high, at = Fraction(Decimal(repr(metric.low))), Fraction(Decimal(repr(metric.high))), Fraction(bound)
    text = f"{gate.metric} lies in [{metric.low:.4g}, {metric.high:.4g}]"
    if _meets(name, low, at) and _meets(name, high, at):
        return "pass", f"{text}, {name} {bound}"
    wholly_bad = not _meets(name, low, at) and not _meets(name, high, at) and not (name == "equals" and low < at < high)
    said = f"{text} and must be {MUST[name].format(bound)}"
    return (gate.unmet, said) if wholly_bad else ("inconclusive", f"{said}: too wide to tell")


def _meets(name: str, value: Fraction, bound: Fraction) -> bool:
    return value >= bound if name == "at_least" else value <= bound if name == "at_most" else value == bound


@dataclass(frozen=True)
class Claim:
    """A metric as an edited view has it."""

    by: str
    """Whose word it is: `results/exam.json says`."""
    metric: Metric


@dataclass(frozen=True)
class Reading:
    """What the views of a node say beside its artifact; a view that nobody edited says nothing."""

    claims: Mapping[str, tuple[Claim, ...]] = field(default_factory=dict[str, tuple[Claim, ...]])
    """Metric → what edited views have for it."""
    unread: str = ""
    """Why a view, or the artifact itself, cannot be judged by: no gate of the node passes then."""
    remarks: tuple[str, ...] = ()
    """Where edited views differ from the rows, a sentence each, whether a gate looks there or not."""


SILENT = Reading()
"""Every view is as it was written."""

_WORST: tuple[Value, ...] = ("fail", "inconclusive", "pass")


def weigh(gate: Gate, metric: Metric | None, reading: Reading) -> tuple[Metric | None, Value, str]:
    """The worst of what the artifact and its views say: the metric judged, the verdict, its sentence.

    Never better than `decide` says of the artifact's metric alone.
    """
    value, reason = decide(gate, metric)
    worst = (metric, value, reason)
    for claim in reading.claims.get(gate.metric, ()):
        found, said = decide(gate, _whole(claim.metric, metric))
        place, least = _WORST.index(found), _WORST.index(worst[1])
        if place < least or (place == least and _goodness(gate, claim.metric) <= _goodness(gate, worst[0])):
            said = f"{said}; {claim.by} {told(claim.metric)}, the rows give {told(metric)}"
            worst = (claim.metric, found, said)
    if reading.unread and worst[1] == "pass":
        return metric, "inconclusive", reading.unread
    return worst


def too_good(gate: Gate, metric: Metric | None, claim: Metric) -> bool:
    """Whether a claim is better for a gate than the artifact's metric: in value, in the end that an interval is
    judged by, or in the number of items."""
    if claim.value is None:
        return False
    if metric is None or metric.value is None or _goodness(gate, claim) > _goodness(gate, metric):
        return True
    more = bool(gate.min_n) and (claim.n or 0) > (metric.n or 0)
    name, _ = condition(gate)
    if gate.decide == "point" or None in (claim.low, claim.high, metric.low, metric.high):
        return more
    ends = {"at_least": (claim.low, metric.low), "at_most": (metric.high, claim.high), "equals": (0.0, 0.0)}[name]
    return more or (ends[0] or 0.0) > (ends[1] or 0.0)


def told(metric: Metric | None) -> str:
    """A metric as a sentence names it: `0.95 (95/100)`."""
    if metric is None or metric.value is None:
        return "nothing" if metric is None else f"no value ({metric.reason})"
    number = f"{metric.value:g}" if float(f"{metric.value:g}") == metric.value else repr(metric.value)
    return f"{number} ({metric.k}/{metric.n})" if metric.k is not None and metric.n else number


def _whole(claim: Metric, metric: Metric | None) -> Metric:
    """A claim that states a bare number is of as many items as the artifact, and its interval is that number."""
    n = claim.n if claim.n is not None or metric is None else metric.n
    if claim.value is None or claim.low is not None or claim.high is not None:
        return replace(claim, n=n)
    return replace(claim, n=n, low=float(claim.value), high=float(claim.value))


def _goodness(gate: Gate, metric: Metric | None) -> Fraction | float:
    """How good a value is for a gate: more is better. The exact fraction or the number, whichever is more."""
    if metric is None or metric.value is None or not math.isfinite(metric.value):
        return -math.inf
    name, bound = condition(gate)
    values = [Fraction(Decimal(repr(metric.value)))]
    if metric.k is not None and metric.n:
        values.append(Fraction(metric.k, metric.n))
    if name == "equals":
        return max(-abs(value - Fraction(bound)) for value in values)
    return max(values) if name == "at_least" else max(-value for value in values)
