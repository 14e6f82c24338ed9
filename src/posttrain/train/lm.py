"""Next-token training: which rows a step takes, its loss in micro-batches, what is told and saved on the way."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from posttrain.algos import lm
from posttrain.data.pack import Batch, Example, micro_batches
from posttrain.models.decoder import Decoder
from posttrain.train import loop, optim
from posttrain.train.material import Material
from posttrain.train.state import Keeper

ROUND = 256
"""The head runs at a multiple of so many positions: a CPU keeps prepared kernels for every number it has seen."""


@dataclass(frozen=True)
class Draw:
    """How examples become the batches of optimiser steps."""

    rows: int
    """Examples in one optimiser step."""
    max_tokens: int
    """Tokens in one micro-batch, padding included."""
    window: int
    """Longest example, and the width of a packed row."""
    packing: bool
    seed: int

    def steps_per_epoch(self, count: int) -> int:
        """Steps that see each of `count` examples once; the last of them may be smaller."""
        return math.ceil(count / self.rows)

    def epoch(self, steps: int, count: int) -> float:
        """Passes over `count` examples that `steps` steps make."""
        return steps / self.steps_per_epoch(count)

    def picks(self, step: int, count: int) -> list[int]:
        """Which of `count` examples step `step` (from 0) takes: epochs are seeded permutations, cut into batches."""
        epoch, at = divmod(step, self.steps_per_epoch(count))
        order = np.random.default_rng([self.seed, epoch]).permutation(count)
        return order[at * self.rows : (at + 1) * self.rows].tolist()

    def batches(self, examples: Sequence[Example], step: int) -> list[Batch]:
        """The micro-batches of step `step`."""
        chosen = longest_first(examples[i] for i in self.picks(step, len(examples)))
        return micro_batches(chosen, max_tokens=self.max_tokens, packing=self.packing, window=self.window)


def longest_first(examples: Iterable[Example]) -> list[Example]:
    """In the order in which they pack tightest."""
    return sorted(examples, key=lambda example: len(example.ids), reverse=True)


def share(model: Decoder, batch: Batch, count: int) -> Tensor:
    """This micro-batch's share of the mean loss over `count` target tokens; the head runs where it predicts."""
    return lm.mean_nll(target_logits(model, batch), batch.ids[batch.targets], count=count)


def target_logits(model: Decoder, batch: Batch) -> Float[Tensor, "N V"]:
    """Logits at the positions that predict a target, in row-major order."""
    at = lm.predicting(batch.targets)
    count = len(at)
    at = functional.pad(at, (0, -count % ROUND))
    hidden = model.hidden(batch.ids, segments=batch.segments, positions=batch.positions)
    return model.head(hidden.flatten(0, 1).index_select(0, at))[:count]


def parts(model: Decoder, batches: Sequence[Batch]) -> list[loop.Part]:
    """The parts of one optimiser step: the loss summed over its targets, divided by their number in the whole step."""
    count = sum(batch.target_count for batch in batches)
    return [partial(share, model, batch.to(model.device), count) for batch in batches if batch.target_count]


@torch.no_grad()
def mean_loss(model: Decoder, examples: Sequence[Example], *, max_tokens: int) -> float:
    """Mean loss in nats over the target tokens of `examples`."""
    total, count = 0.0, 0
    window = max(len(example.ids) for example in examples)
    for batch in micro_batches(examples, max_tokens=max_tokens, packing=False, window=window):
        on = batch.to(model.device)
        total += lm.nll(target_logits(model, on), on.ids[on.targets]).double().sum().item()
        count += batch.target_count
    return total / count


@dataclass(frozen=True)
class Hooks(loop.Tell):
    """Where a fine-tune tells and saves."""

    save: Callable[[int], str]
    """Writes the checkpoint of that step, its digest; may be called again for the same step."""
    every: int | None = None
    """Steps between checkpoints; the last step is one in any case."""


@dataclass(frozen=True)
class Trained:
    """What a fine-tune was; nats per target token."""

    first: float
    """Loss on the fixed rows before the first step."""
    last: float
    """The same after the last."""
    loss: float
    """Loss of the last step's batch."""
    val: dict[int, float]
    """Loss on the held-out rows at step 0 and at each checkpoint; empty without such rows."""
    tokens: int
    """Tokens read in training, prompts included, padding not."""
    saved: dict[int, str]
    """Digest of each checkpoint, by step."""
    epochs: float


def finetune(
    model: Decoder, material: Material, course: loop.Course, draw: Draw, *, keeper: Keeper, hooks: Hooks, decay: float
) -> Trained:
    """Train on `material.train`, telling every step and saving every `hooks.every` steps and at the last."""
    measure = partial(mean_loss, model, max_tokens=draw.max_tokens)
    optimiser = optim.adamw(model, weight_decay=decay)
    start = keeper.restore(model, optimiser)
    facts = keeper.facts
    if start == 0:
        facts |= {"first": measure(material.fixed), "val": {"0": measure(material.val)} if material.val else {}}
        facts |= {"tokens": 0, "saved": {}}
        hooks.emit(step=0, fixed_loss=facts["first"], val_loss=facts["val"].get("0"))

    def tokens_of(step: int) -> int:
        return sum(len(material.train[i].ids) for i in draw.picks(step, len(material.train)))

    def after(done: int, report: loop.StepReport) -> None:
        told: dict[str, float] = {}
        if done == course.steps or (hooks.every and done % hooks.every == 0):
            facts["saved"][str(done)] = hooks.save(done)
            if material.val:
                told["val_loss"] = facts["val"][str(done)] = measure(material.val)
        tokens = tokens_of(done - 1)
        facts["tokens"] += tokens
        facts["loss"] = report.loss
        hooks.emit(
            step=done,
            loss=report.loss,
            grad_norm=report.grad_norm,
            lr=course.rate(done - 1),
            tokens=tokens,
            epoch=draw.epoch(done, len(material.train)),
            **told,
        )

    def step_parts(step: int) -> list[loop.Part]:
        hooks.spend(tokens_of(step))
        return parts(model, draw.batches(material.train, step))

    loop.train(model, optimiser, step_parts, course, start=start, keeper=keeper, after=after)
    return Trained(
        first=facts["first"],
        last=measure(material.fixed),
        loss=facts["loss"],
        val={int(step): loss for step, loss in facts["val"].items()},
        tokens=facts["tokens"],
        saved={int(step): told for step, told in facts["saved"].items()},
        epochs=draw.epoch(course.steps, len(material.train)),
    )
