"""Gates, metrics and verdicts: the words of judging. The deciding itself is `engine.judge`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from posttrain.spec.knobs import Closed

Value = Literal["pass", "fail", "inconclusive", "not_run"]
"""The four verdicts; unknown is never a pass."""


@dataclass(frozen=True)
class Metric:
    """One number of an artifact, or the reason why there is none.

    `k` of `n` is the exact fraction where the value is a share; `low` and `high` bound its 95 % interval.
    """

    value: float | int | None
    reason: str | None = None
    k: int | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    detail: str = ""
    """What was counted, in words, where a verdict must name it: the damages of a model folder."""

    def __post_init__(self) -> None:
        """Unknown is not zero: no value without a reason."""
        if (self.value is None) != bool(self.reason):
            raise ValueError("a metric has a value, or a reason why it has none")

    def finite(self) -> "Metric":
        """Unknown is not a number: a value that is not finite is none."""
        if self.value is None or math.isfinite(self.value):
            return self
        return Metric(None, f"the value is {self.value}", n=self.n, unit=self.unit)

    def agrees(self, other: "Metric | None") -> bool:
        """Whether two machines may have counted it so: counts and words equal, numbers to nine digits."""
        if other is None:
            return False
        words = (self.reason, self.k, self.n, self.unit, self.detail)
        if words != (other.reason, other.k, other.n, other.unit, other.detail):
            return False
        pairs = ((self.value, other.value), (self.low, other.low), (self.high, other.high))
        return all(a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9)) for a, b in pairs)


CONDITIONS = ("at_least", "at_most", "equals")
"""The keys of which a gate has exactly one."""

REQUIRES = ("macos", "cuda", "nodejs", "llama.cpp")
"""What a gate may require of the machine."""


LONGEST = 40
"""Digits before and behind the point of a gate's bound: it is compared exactly, as a fraction."""


def _written_out(bound: Decimal) -> Decimal:
    if bound.is_finite() and not (-LONGEST <= bound.adjusted() <= LONGEST and len(bound.as_tuple().digits) <= LONGEST):
        raise ValueError(f"must have at most {LONGEST} digits before and behind the point")
    return bound


Bound = Annotated[Decimal, AfterValidator(_written_out)]
"""The number in a gate's condition, as written."""


class Gate(Closed):
    """A named condition on one metric of one artifact."""

    metric: str
    """The metric judged."""
    at_least: Bound | None = None
    """Good where the metric is this or more."""
    at_most: Bound | None = None
    """Good where the metric is this or less."""
    equals: Bound | None = None
    """Good where the metric is exactly this."""
    min_n: int = Field(default=0, ge=0)
    """Fewer items than this: inconclusive."""
    decide: Literal["point", "interval"] = "point"
    """Judge the value itself, or its whole 95 % interval."""
    unmet: Literal["fail", "inconclusive"] = "fail"
    """The verdict where the condition is not met."""
    needs: tuple[str, ...] = ()
    """Gates of the same stage that must have passed first."""
    requires: tuple[str, ...] = ()
    """What the machine must have (macos, cuda, nodejs, llama.cpp); absent: not_run."""
    severity: Literal["stop", "warn"] = "stop"
    """A stop gate blocks what depends on its stage; a warn gate is listed."""
    says: dict[Value, str] = Field(default_factory=dict)
    """The gate's own sentence for a verdict."""
    off: bool = False
    """Not judged, not listed."""

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        given = [name for name in CONDITIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a gate has exactly one of {', '.join(CONDITIONS)}; this one has {len(given)}")
        return self


@dataclass(frozen=True)
class Verdict:
    """What a gate says of one node, with its evidence."""

    gate: str
    node: str
    value: Value
    severity: Literal["stop", "warn"]
    metric: str
    condition: str
    """The condition as text: `at_least 0.95`."""
    evidence: Metric | None
    reason: str
    """One sentence: why this verdict."""
    absent: str = ""
    """What the gate `requires` and this machine lacks; empty where nothing is lacking."""
    waived: str = ""
    """By whom, until when and why it may stand although it has not passed; the value stays what it is."""

    @property
    def refuses(self) -> bool:
        """Whether it keeps a run from passing: a stop gate that has neither passed nor is waived."""
        return self.severity == "stop" and self.value != "pass" and not self.waived


Metrics = Mapping[str, Metric]
