"""The one training loop: micro-batches add up, the gradient is judged and clipped, the optimiser steps.

A method (SFT, RL) says what the parts of a step's loss are; everything mechanical is here and in `state` and `optim`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from posttrain.spec.errors import BudgetReached, StageFailed
from posttrain.train.optim import Optimiser
from posttrain.train.state import Keeper

Shape = Literal["cosine", "linear", "constant"]

Part = Callable[[], Tensor]
"""Runs a micro-batch forward and returns its share of the step's loss: a scalar, divided by the whole batch's count."""


def schedule(step: int, *, steps: int, lr: float, min_lr: float, warmup: float, shape: Shape) -> float:
    """The learning rate of optimiser step `step` (from 0): linear warm-up over `warmup · steps`, then down to `min_lr`.

    The first step after warm-up has the full rate; `min_lr` would be reached at step `steps`.
    """
    rising = round(warmup * steps)
    if step < rising:
        return lr * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    if shape == "constant":
        return lr
    left = 1.0 - done if shape == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return min_lr + (lr - min_lr) * left


@dataclass(frozen=True)
class Course:
    """How long and how fast: the numbers of a training run that no method changes."""

    steps: int
    lr: float
    min_lr: float = 0.0
    warmup: float = 0.05
    """Share of the steps over which the rate rises."""
    shape: Shape = "cosine"
    clip: float = 1.0
    """Largest gradient norm that reaches the optimiser."""

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, from 0."""
        return schedule(step, steps=self.steps, lr=self.lr, min_lr=self.min_lr, warmup=self.warmup, shape=self.shape)


@dataclass(frozen=True)
class Tell:
    """Where a training run tells what it does."""

    emit: Callable[..., None]
    """One step's numbers."""
    spend: Callable[[int], None]
    """Counts a step's tokens before they are trained on; may stop the run, which can then be resumed."""


@dataclass(frozen=True)
class StepReport:
    """What one optimiser step was."""

    loss: float
    """Sum of the parts, that is the loss of the whole batch."""
    grad_norm: float
    """L2 norm of the whole gradient before clipping."""
    parts: int
    """Micro-batches that were added up."""


def update(model: nn.Module, optimiser: Optimiser, parts: Iterable[Part], *, clip: float, step: int) -> StepReport:
    """One optimiser step over the sum of `parts`; `step` (from 1) names it in an error.

    Raises StageFailed before the optimiser has moved a weight where the loss or the gradient is not finite.
    """
    optimiser.zero_grad()
    losses: list[Tensor] = []
    for part in parts:
        loss = part()
        loss.backward()
        losses.append(loss.detach())
    total = torch.stack(losses).sum().item() if losses else 0.0
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    size = norm.item()
    for name, value in (("loss", total), ("gradient norm", size)):
        if not math.isfinite(value):
            raise StageFailed(
                f"the {name} is {value}; no weight was changed by this step",
                where=f"step {step}",
                remedy="Lower lr or clip, or look at the rows of this step; the state before it is kept.",
            )
    if size > clip:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), clip, norm)
    optimiser.step()
    return StepReport(loss=total, grad_norm=size, parts=len(losses))


def train(
    model: nn.Module,
    optimiser: Optimiser,
    parts: Callable[[int], Iterable[Part]],
    course: Course,
    *,
    start: int,
    keeper: Keeper,
    after: Callable[[int, StepReport], None],
) -> None:
    """Run the course from step `start`, which `keeper.restore` gave.

    `parts(step)` (from 0) must depend on `step` alone, so that a resumed run is the same run; `after(done, report)`
    (from 1) tells, validates and saves checkpoints. It runs before the state is kept, so after a kill it may run
    again for the same step: it must be idempotent. Where it raises BudgetReached, as the last thing it does, the state
    is kept at the step it was told of; where `parts` does, before a gradient is taken, at the step before.
    """
    for step in range(start, course.steps):
        optimiser.set_lr(course.rate(step))
        try:
            cut = parts(step)
        except BudgetReached:
            keeper.keep(step, model, optimiser, last=step > start)
            raise
        report = update(model, optimiser, cut, clip=course.clip, step=step + 1)
        try:
            after(step + 1, report)
        except BudgetReached:
            keeper.keep(step + 1, model, optimiser, last=True)
            raise
        keeper.keep(step + 1, model, optimiser, last=step + 1 == course.steps)
