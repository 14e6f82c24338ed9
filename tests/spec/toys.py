"""Small kinds that do no work: what recipes are written in here."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from posttrain.spec.gate import Gate
from posttrain.spec.knobs import Counts, File, Knobs, Variant, tagged
from posttrain.spec.stage import ArtifactType, Estimate, Kind, Outcome, Role


class Base(Knobs):
    id: str


class Prepare(Knobs):
    domain: str
    max_problems: int = Field(500, gt=0)
    source: File | None = None
    against: tuple[str, ...] = ()


class Constant(Variant):
    type: Literal["constant"] = "constant"


class Cosine(Variant):
    type: Literal["cosine"] = "cosine"
    floor: float = 0.0
    warmup: float = 0.05


class Sft(Knobs):
    domain: str = "all"
    steps: int = Field(100, gt=0)
    lr: float = 1e-3
    schedule: tagged(Constant | Cosine) = Cosine()
    stages_of: tuple[tagged(Constant | Cosine), ...] = ()
    packing: bool = True
    precision: Literal["fp32", "bf16"] = "fp32"


class Probe(Knobs):
    domain: str | None = None
    k: Counts = (8,)
    samples: int = 16


class Copy(Variant):
    type: Literal["copy"] = "copy"
    beta: float = 0.01


class Absent(Variant):
    type: Literal["none"] = "none"


class Rl(Knobs):
    steps: int = 10
    sharpness: float = 4.0
    reference: tagged(Absent | Copy) = Copy()


class Empty(Knobs):
    pass


def no_more_than_samples(knobs: Any, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    if max(knobs.k) > knobs.samples:
        return (f"k = {max(knobs.k)} needs at least as many samples, and samples = {knobs.samples}.",)
    return ()


def rl_gates(knobs: Any, roles: frozenset[str]) -> Mapping[str, Gate]:
    sound = Gate(metric="damages", equals=Decimal(0))
    anchored = Gate(metric="kl_start", at_most=Decimal("1e-5"))
    return {"sound": sound} | ({} if knobs.reference.type == "none" else {"anchored": anchored})


def made(
    name: str,
    knobs: type[Knobs],
    roles: Mapping[str, Role],
    makes: ArtifactType,
    gates: Mapping[str, Gate] | Callable[[Any, frozenset[str]], Mapping[str, Gate]] = MappingProxyType({}),
) -> Kind:
    def run(ctx: Any) -> Outcome:
        return Outcome(metrics={})

    return Kind(
        name=name,
        version=1,
        knobs=knobs,
        roles=roles,
        makes=makes,
        gates=gates if callable(gates) else lambda knobs, given: gates,
        estimate=lambda knobs, inputs: Estimate(),
        run=run,
        measure=lambda artifact, knobs: {},
        says=f"The kind {name}.",
    )


MODEL, DATA = Role(("model",), "the model"), Role(("data",), "the rows", many=True)
SOUND = Gate(metric="damages", equals=Decimal(0))

ALL = {
    kind.name: kind
    for kind in (
        made("base", Base, {"data": replace(DATA, optional=True)}, "model", {"sound": SOUND}),
        made("prepare", Prepare, {"ready": replace(DATA, optional=True)}, "data"),
        made(
            "sft",
            Sft,
            {"model": MODEL, "data": DATA, "replay": replace(DATA, optional=True)},
            "model",
            {
                "sound": SOUND,
                "rows_kept": Gate(metric="rows_kept", at_least=Decimal("0.95"), needs=("sound",)),
            },
        ),
        replace(
            made("probe", Probe, {"model": MODEL, "data": DATA}, "model"),
            check=no_more_than_samples,
        ),
        made("fuse", Empty, {"models": replace(MODEL, many=True), "base": replace(MODEL, optional=True)}, "model"),
        made("rl", Rl, {"model": MODEL, "data": DATA, "reference": replace(MODEL, optional=True)}, "model", rl_gates),
        made("evaluate", Probe, {"model": MODEL, "data": DATA}, "scores"),
        made(
            "compare",
            Empty,
            {
                "before": Role(("scores",), "before", many=True, optional=True),
                "after": Role(("scores",), "after", many=True),
            },
            "scores",
        ),
    )
}


class Toys:
    """The kinds above, where kinds are looked up."""

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(ALL))

    def kind(self, name: str, /) -> Kind:
        return ALL[name]


TOYS = Toys()
