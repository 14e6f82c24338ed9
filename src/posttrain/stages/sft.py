"""Train a model on solutions: prompt masked, loss weighted by target tokens, replay against forgetting."""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from posttrain.spec.errors import Mismatch, UsageError
from posttrain.spec.gate import Gate, Metric
from posttrain.spec.knobs import Knobs as Base
from posttrain.spec.stage import Artifact, Context, Estimate, Foreseen, Outcome, Role

if TYPE_CHECKING:
    from posttrain.data.chat import Turn
    from posttrain.train.lm import Trained
    from posttrain.train.loop import Course
    from posttrain.train.material import Material

VERSION = 1
REPORT = "training.json"
"""Counts and losses of the fine-tune; what `measure` reads."""


class Knobs(Base):
    """What decides a fine-tune."""

    domain: str | None = None
    """Rows of this domain are trained; none: all of them, mixed."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps; they win over `epochs`."""
    epochs: float = Field(5.0, gt=0)
    """Passes over the rows, where `steps` is not given."""
    batch: int = Field(128, ge=1)
    """Rows before a gradient is taken."""
    accumulate: int = Field(1, ge=1)
    """Batches added up in one optimiser step."""
    micro_batch_tokens: int = Field(8192, ge=1)
    """Tokens computed at once, padding included; memory, not results, depends on it."""
    max_seq_length: int = Field(2048, ge=2)
    """Tokens of the longest row, prompt included; longer rows are dropped and counted."""
    packing: bool = True
    """Several rows in one sequence, without attention between them."""
    lr: float = Field(5e-5, ge=0)
    """Highest learning rate (AdamW)."""
    min_lr: float = Field(0.0, ge=0)
    """Where the schedule ends."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after warm-up."""
    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the rate rises."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled decay of matrices."""
    clip: float = Field(1.0, gt=0)
    """Largest gradient norm that reaches the optimiser."""
    replay: float = Field(0.0, ge=0)
    """Rows of role `replay` per own row: 0.3 adds 30 %."""
    verified_only: bool = True
    """Leave out solutions that no check has confirmed."""
    save_every: int | None = Field(None, ge=1)
    """Steps between checkpoints; the last step is always one."""


ROLES = {
    "model": Role(("model",), "the model to train"),
    "data": Role(("data",), "problems with solutions (split train), and val for the held-out loss", many=True),
    "replay": Role(("data",), "rows mixed in against forgetting", many=True, optional=True),
}
MAKES = "model"
GATES = {
    "sound": Gate(metric="damages", equals=Decimal(0)),
    "masks": Gate(metric="bad_masks", equals=Decimal(0)),
    "rows_kept": Gate(metric="rows_kept", at_least=Decimal("0.95")),
    "loss_falls": Gate(metric="loss_fall", at_least=Decimal("0.001")),
}


def check(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> tuple[str, ...]:
    """What types alone do not show."""
    from posttrain.models.foresee import too_long

    replay = f"replay = {knobs.replay:g} mixes rows in, and the role `replay` has no input: give it one, or replay = 0"
    found = (
        replay if knobs.replay and not inputs.get("replay") else "",
        too_long(knobs.max_seq_length, inputs.get("model", ())),
    )
    return tuple(said for said in found if said)


def estimate(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> Estimate:
    """Tokens at most and memory; a remark where each row is seen more than ten times."""
    from posttrain.models.foresee import config_of
    from posttrain.models.size import size_of

    counts = [(f.knobs.get("max_problems"), f.knobs.get("n_solutions", 1)) for f in inputs.get("data", ())]
    rows = sum(a * b for a, b in counts if isinstance(a, int) and isinstance(b, int)) * (1 + knobs.replay)
    step = knobs.batch * knobs.accumulate
    steps = knobs.steps or math.ceil(knobs.epochs * math.ceil(rows / step))
    epochs = steps * step / rows if rows else 0.0
    config = config_of(inputs.get("model", ()))
    return Estimate(
        tokens=steps * step * knobs.max_seq_length or None,
        memory=size_of(config).training_bytes(knobs.micro_batch_tokens, window=knobs.max_seq_length)
        if config
        else None,
        remarks=(f"{epochs:.1f} epochs: each row is seen more than ten times",) if epochs > 10 else (),
    )


def run(ctx: Context[Knobs]) -> Outcome:
    """Read rows, train, keep every checkpoint; the last is the model."""
    from posttrain.data.pack import display
    from posttrain.models.load import load
    from posttrain.train import checkpoints, lm, material
    from posttrain.train.state import Keeper

    knobs, where = ctx.knobs, ctx.resources
    loaded = load(ctx.input("model").path, device=where.device, compute=where.compute)
    _window_fits(knobs, loaded.config)
    asked = material.asked(loaded)
    own, replay, val = _turns(ctx)
    rows = material.tokenised(own, replay, val, asked=asked, window=knobs.max_seq_length, seed=ctx.seed)
    draw = lm.Draw(
        rows=knobs.batch * knobs.accumulate,
        max_tokens=knobs.micro_batch_tokens,
        window=knobs.max_seq_length,
        packing=knobs.packing,
        seed=ctx.seed,
    )
    first = draw.batches(rows.train, 0)
    ctx.note("first_batch", display(first[0], loaded.tokenizer))
    course = _course(knobs, draw.steps_per_epoch(len(rows.train)))
    steps = ctx.scratch / "steps"
    hooks = lm.Hooks(
        emit=ctx.emit,
        spend=lambda tokens: ctx.spend(tokens=tokens),
        save=lambda step: checkpoints.save(loaded, steps, step),
        every=knobs.save_every,
    )
    keeper = Keeper(ctx.scratch / "state")
    trained = lm.finetune(loaded.model, rows, course, draw, keeper=keeper, hooks=hooks, decay=knobs.weight_decay)
    checkpoints.place(steps, ctx.out, trained.saved)
    bad = material.bad_masks(first, [*own, *replay], asked)
    _write(ctx.out, rows, trained, bad)
    made = Artifact(node="", type="model", path=ctx.out, digest="")
    return Outcome(measure(made, knobs), {"tokens_per_s": trained.tokens / keeper.seconds})


def _turns(ctx: Context[Knobs]) -> "tuple[list[Turn], list[Turn], list[Turn]]":
    """Own rows, replay and held-out rows; Mismatch where the domain has none."""
    from posttrain.data.records import Problem
    from posttrain.data.rows import read
    from posttrain.train import material

    knobs = ctx.knobs

    def split(role: str, name: str, domain: str | None) -> "list[Turn]":
        problems = [
            problem
            for source in ctx.inputs(role)
            for problem in read(source.file(name), Problem)
            if domain in (None, problem.domain)
        ]
        return material.turns(problems, verified_only=knobs.verified_only)

    own = split("data", "train.jsonl", knobs.domain)
    if not own:
        raise Mismatch(
            f"the data holds no training row{f' of domain {knobs.domain}' if knobs.domain else ''}",
            where=", ".join(source.node for source in ctx.inputs("data")),
            remedy="A row needs a solution, verified unless verified_only = false.",
        )
    mixed = material.replayed(own, split("replay", "train.jsonl", None), knobs.replay, seed=ctx.seed)
    wanted = round(knobs.replay * len(own))
    if len(mixed) < wanted:
        ctx.note("replay", f"{wanted} rows wanted, {len(mixed)} there", wanted - len(mixed))
    return own, mixed, split("data", "val.jsonl", knobs.domain)


def _window_fits(knobs: Knobs, config: Mapping[str, Any]) -> None:
    positions = config.get("max_position_embeddings")
    if positions is not None and knobs.max_seq_length > positions:
        raise UsageError(
            f"{knobs.max_seq_length} tokens are more than the model's {positions} positions.",
            where="max_seq_length",
            remedy=f"Set it to {positions} or less, or give the base more positions.",
        )


def _course(knobs: Knobs, per_epoch: int) -> "Course":
    from posttrain.train.loop import Course

    return Course(
        steps=knobs.steps or max(1, round(knobs.epochs * per_epoch)),
        lr=knobs.lr,
        min_lr=knobs.min_lr,
        warmup=knobs.warmup,
        shape=knobs.schedule,
        clip=knobs.clip,
    )


def _write(out: Path, rows: "Material", trained: "Trained", bad: int) -> None:
    report = {
        "rows": {"own": rows.own, "replayed": rows.replayed, "kept": len(rows.train)},
        "bad_masks": bad,
        "first": trained.first,
        "last": trained.last,
        "loss": trained.loss,
        "val": {str(step): loss for step, loss in trained.val.items()},
        "tokens": trained.tokens,
        "epochs": trained.epochs,
    }
    (out / REPORT).write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def measure(artifact: Artifact, knobs: Knobs) -> Mapping[str, Metric]:
    """Metrics from the folder: its soundness, and the counts and losses of `training.json`."""
    from posttrain.models.sound import soundness

    told = json.loads(artifact.file(REPORT).read_text(encoding="utf-8"))
    rows, val = told["rows"], told["val"]
    given = rows["own"] + rows["replayed"]
    last = Metric(val[max(val, key=int)], unit="nats") if val else Metric(None, "no held-out rows with solutions")
    return {
        "damages": soundness(artifact.path),
        "bad_masks": Metric(told["bad_masks"]),
        "rows_kept": Metric(rows["kept"] / given, k=rows["kept"], n=given),
        "loss": Metric(told["loss"], unit="nats"),
        "loss_fall": Metric(told["first"] - told["last"], unit="nats"),
        "val_loss": last,
        "tokens": Metric(told["tokens"], unit="tokens"),
        "epochs": Metric(told["epochs"]),
    }
