"""Fuse experts of one base into one model: a weighted mean of their weights, or task arithmetic."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from posttrain.spec.errors import UsageError
from posttrain.spec.gate import Gate, Metric
from posttrain.spec.knobs import Knobs as Base
from posttrain.spec.knobs import Variant, tagged
from posttrain.spec.stage import Artifact, Context, Estimate, Foreseen, Outcome, Role

VERSION = 1
MAKES = "model"
ROLES = {
    "models": Role(("model",), "the experts, in order of their nodes", many=True),
    "base": Role(("model",), "what the experts were made from: its format, config and tokenizer", optional=True),
}
GATES = {
    "sound": Gate(metric="damages", equals=Decimal(0)),
    "averaged": Gate(metric="ulp_gap", at_most=Decimal(1)),
}
REPORT = "fuse.json"
"""What was merged, in which shares; what `measure` reads."""
FAR = 0.7
"""Distance of an expert from the result above which experts hardly share a base; the mean of strangers lies at 1."""


class Linear(Variant):
    """Σ w_i M_i."""

    type: Literal["linear"] = "linear"
    shares: tuple[FiniteFloat, ...] = ()
    """One per expert in order of node, none negative, summing to 1; empty: equal."""

    @model_validator(mode="after")
    def _a_mean(self) -> Self:
        if any(share < 0 for share in self.shares):
            raise ValueError("shares: none may be negative")
        if self.shares and abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares: they sum to {sum(self.shares)}, not to 1")
        return self


class TaskArithmetic(Variant):
    """base + scale · Σ (M_i - base)."""

    type: Literal["task_arithmetic"] = "task_arithmetic"
    scale: FiniteFloat = Field(0.25, gt=0)
    """What the sum of the experts' changes is multiplied by."""


if TYPE_CHECKING:
    Method = Linear | TaskArithmetic
else:
    Method = tagged(Linear | TaskArithmetic)


class Knobs(Base):
    """How the experts become one."""

    method: Method = Linear()
    """The formula."""
    dtype: Literal["base", "fp32", "bf16", "fp16"] = "base"
    """Format of the written weights; `base`: that of the base, or of the first expert where no base is given."""


def check(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> tuple[str, ...]:
    """As many shares as experts; a base to add to."""
    method, count = knobs.method, len(inputs.get("models", ()))
    if isinstance(method, TaskArithmetic):
        return () if inputs.get("base") else ("method: task_arithmetic adds to a base; give the role base",)
    if method.shares and len(method.shares) != count:
        return (f"method.shares: {len(method.shares)} shares for {count} experts",)
    return ()


def estimate(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> Estimate:
    """Bytes of the written weights, where an expert is there to look at."""
    for source in (*inputs.get("base", ()), *inputs.get("models", ())):
        if source.artifact is not None:
            weights = sum(path.stat().st_size for path in source.artifact.path.glob("*.safetensors"))
            return Estimate(disk=weights)
    return Estimate()


def run(ctx: Context[Knobs]) -> Outcome:
    """Merge, read some of it back, and record what was done."""
    from posttrain.models import load, weights
    from posttrain.models.sound import refuse_damaged

    experts, base = ctx.inputs("models"), ctx.inputs("base")
    wrong = check(ctx.knobs, {"models": _seen(experts), "base": _seen(base)})
    if wrong or not experts:
        raise UsageError((*wrong, "models: there is nothing to fuse")[0], where="fuse")
    for one in (*base, *experts):
        refuse_damaged(one.path, one.node)
    like = (*base, *experts)[0]
    sources = {one.node: one.path for one in ((*base, *experts) if _adds(ctx.knobs) else experts)}
    coefficients = _coefficients(ctx.knobs, len(experts))
    weights.alike({one.node: one.path for one in (*base, *experts)})
    dtype = None if ctx.knobs.dtype == "base" else load.FORMATS[ctx.knobs.dtype]
    merged = weights.merge(sources, coefficients, ctx.out, like=like.path, dtype=dtype)
    gap = weights.spot_check(tuple(sources.values()), _coefficients(ctx.knobs, len(experts)), ctx.out)
    parts = [
        {"node": node, "share": share, "distance": distance}
        for node, share, distance in zip(sources, coefficients, merged.distances, strict=True)
    ]
    if max(merged.distances) > FAR:
        ctx.note("far_apart", "experts are further apart than fine-tuning takes them: do they share a base?")
    record = {"method": ctx.knobs.method.type, "parts": parts, "ulp_gap": gap}
    (ctx.out / REPORT).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Outcome(measure(Artifact(node="", type=MAKES, path=ctx.out, digest=""), ctx.knobs))


def _adds(knobs: Knobs) -> bool:
    return isinstance(knobs.method, TaskArithmetic)


def _seen(artifacts: tuple[Artifact, ...]) -> tuple[Foreseen, ...]:
    return tuple(Foreseen(one.node, one.kind, one.knobs, one.axes, one) for one in artifacts)


def _coefficients(knobs: Knobs, count: int) -> tuple[float, ...]:
    """Of each source in turn: the experts, or before them the base that is added to."""
    from posttrain.algos import merge

    method = knobs.method
    if isinstance(method, TaskArithmetic):
        return merge.task_coefficients(count, method.scale)
    shares = method.shares or merge.equal_shares(count)
    merge.check_shares(shares, count)
    return shares


def measure(artifact: Artifact, knobs: Knobs) -> Mapping[str, Metric]:
    """Metrics from the folder: its soundness, and what `fuse.json` says was merged."""
    from posttrain.models.sound import soundness

    told = json.loads(artifact.file(REPORT).read_text(encoding="utf-8"))
    found = {
        "damages": soundness(artifact.path),
        "ulp_gap": Metric(told["ulp_gap"], unit="ulp"),
        "experts": Metric(len(told["parts"]) - _adds(knobs)),
        "distance": Metric(max(part["distance"] for part in told["parts"])),
    }
    for part in told["parts"]:
        found[f"share/{part['node']}"] = Metric(part["share"])
        found[f"distance/{part['node']}"] = Metric(part["distance"])
    return found
