"""The loop of reinforcement learning: draw, sample, grade, weigh, step; validate on the way."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from posttrain.algos import policy
from posttrain.data.records import RlStep, Score
from posttrain.models.decoder import Decoder
from posttrain.models.load import Loaded
from posttrain.runners.rollout import Sampled
from posttrain.spec.errors import BudgetReached
from posttrain.train.loop import Course, StepReport, update
from posttrain.train.optim import Optimiser, adamw
from posttrain.train.rl import objective as loss
from posttrain.train.rl import validate
from posttrain.train.rl.collect import Drawing, collect
from posttrain.train.rl.journal import Journal
from posttrain.train.rl.pieces import Piece, Response, pieces
from posttrain.train.rl.prompts import Prompts
from posttrain.train.rl.tell import emitted, in_numbers
from posttrain.train.rl.weigh import Weighed, Weighing, weigh
from posttrain.train.state import Keeper

ROLLOUTS, STEPS, VALIDATION = "rollouts.jsonl.gz", "rl.jsonl", "val.jsonl"
FILES = (ROLLOUTS, STEPS, VALIDATION)
"""The files of an artifact that tell of its training."""


@dataclass(frozen=True)
class Method:
    """Everything that decides what a run learns, beside model and problems."""

    drawing: Drawing
    weighing: Weighing
    objective: loss.Objective
    course: Course
    """Its steps are optimiser steps: batches of rollouts · `updates`."""
    updates: int
    """Optimiser steps per batch of rollouts."""
    max_tokens: int
    """Tokens of a micro-batch."""
    exam: validate.Exam | None
    """None: there is nothing to validate on."""
    eval_every: int
    select_best: bool
    """Keep the weights of the best validation rather than the last."""
    keep_rollouts: float
    """Share of the groups whose samples are written."""

    @property
    def steps(self) -> int:
        """Batches of rollouts."""
        return self.course.steps // self.updates


@dataclass(frozen=True)
class Hooks:
    """Where a run is told and kept."""

    emit: Callable[..., None]
    progress: Callable[[int, int, str], None]
    spend: Callable[[int], None]
    """Counts generated tokens before anything is learned from them; may stop the run, which can then be resumed."""
    journal: Journal
    keeper: Keeper


class Clock:
    """Seconds and tokens of each part of the loop, over all resumes but for the steps that were lost."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.tokens: dict[str, int] = defaultdict(int)

    def resume(self, kept: Mapping[str, float]) -> None:
        """Go on from what `kept` told."""
        for key, value in kept.items():
            what, name = key.split("/")
            if what == "seconds":
                self.seconds[name] += value
            else:
                self.tokens[name] += int(value)

    def kept(self) -> dict[str, float]:
        """The whole count, as it is kept with a state."""
        told = {f"seconds/{name}": seconds for name, seconds in self.seconds.items()}
        return told | {f"tokens/{name}": float(count) for name, count in self.tokens.items()}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside as `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def measured(self) -> dict[str, float]:
        """Seconds of every part, and tokens per second where a part has tokens."""
        rates = {
            f"{name}_tokens_per_s": n / self.seconds[name] for name, n in self.tokens.items() if self.seconds[name]
        }
        return {f"{name}_s": seconds for name, seconds in self.seconds.items()} | rates


@dataclass(eq=False)
class Learner:
    """A model that learns from `prompts`, pulled towards `reference` where there is one."""

    loaded: Loaded
    prompts: Prompts
    method: Method
    hooks: Hooks
    reference: Decoder | None = None
    clock: Clock = field(default_factory=Clock)

    def learn(self) -> int:
        """Run every step that a kept state lacks, and leave the chosen weights in the model; returns their step."""
        method, keeper, model = self.method, self.hooks.keeper, self.loaded.model
        optimiser = adamw(model)
        start = keeper.restore(model, optimiser)
        self.clock.resume(keeper.measured)
        if start == 0:
            keeper.facts["cursor"] = 0
            self.hooks.emit(step=0, **self._validated(0))
        for step in range(start, method.steps):
            try:
                row = self._step(step, optimiser)
            except BudgetReached:
                keeper.keep(step, model, optimiser, last=True)
                raise
            told = self._validated(step + 1) if self._due(step + 1) else {}
            self.hooks.journal.put(STEPS, step + 1, [row])
            self.clock.tokens["generate"] += row.generated_tokens
            self.clock.tokens["train"] += row.trained_tokens * method.updates
            keeper.measured = self.clock.kept()
            try:
                self.hooks.emit(**emitted(row), **told)
                self.hooks.progress(step + 1, method.steps, "steps")
            except BudgetReached:
                keeper.keep(step + 1, model, optimiser, last=True)
                raise
            with self.clock.part("save"):
                keeper.keep(step + 1, model, optimiser, last=step + 1 == method.steps)
        return self._choose()

    def write(self, out: Path) -> None:
        """Put the rows of every step and every validation into the folder `out`; Mismatch where some are gone."""
        steps, join = range(1, self.method.steps + 1), self.hooks.journal.join
        for name in (ROLLOUTS, STEPS):
            join(name, steps, out / name)
        join(VALIDATION, [0, *filter(self._due, steps)] if self.method.exam else [], out / VALIDATION)

    def _due(self, step: int) -> bool:
        """Whether the step ends with a validation."""
        return step == self.method.steps or step % self.method.eval_every == 0

    def _step(self, step: int, optimiser: Optimiser) -> RlStep:
        method, model = self.method, self.loaded.model
        with self.clock.part("generate"):
            cursor = int(self.hooks.keeper.facts["cursor"])
            batch = collect(self.loaded, self.prompts, method.drawing, step=step, cursor=cursor, weigher=self._weighed)
        self.hooks.spend(int(batch.weighed.length_PG.sum()))
        responses = batch.responses(
            form=method.objective.form,
            cap=method.weighing.cap,
            all_used=method.objective.kl is not None and method.objective.kl.place != "reward",
        )
        cut = pieces(responses, max_tokens=method.max_tokens, device=model.device)
        fixed = self._fixed(cut)
        tallies, report = list[loss.Tally](), StepReport(loss=0.0, grad_norm=0.0, parts=0)
        for number in range(method.updates if cut else 0):
            optimiser.set_lr(method.course.rate(step * method.updates + number))
            tallies.append(loss.Tally())
            parts = loss.parts(model, cut, method.objective, reference=fixed, tally=tallies[-1])
            with self.clock.part("train"):
                report = update(model, optimiser, parts, clip=method.course.clip, step=step + 1)
        self.hooks.keeper.facts["cursor"] = batch.cursor
        rows = batch.rows(step + 1, share=method.keep_rollouts, seed=method.drawing.seed)
        with self.clock.part("save"):
            self.hooks.journal.put(ROLLOUTS, step + 1, rows)
        read = sum(piece.tokens for piece in cut)
        lr = method.course.rate(step * method.updates)
        return in_numbers(step + 1, batch, tallies, report=report, lr=lr, read=read)

    def _weighed(self, groups: Sequence[Sampled]) -> Weighed:
        return weigh(groups, self.method.weighing, penalty_PG=self._penalty(groups))

    def _penalty(self, groups: Sequence[Sampled]) -> Float[Tensor, "P G"] | None:
        """β · Σ KL of each response, where the reference acts on the reward."""
        kl = self.method.objective.kl
        if kl is None or kl.place != "reward":
            return None
        flat = [Response(g.prompt_ids, a.ids, a.logprobs, 0.0, 0.0) for g in groups for a in g.samples]
        cut = pieces(flat, max_tokens=self.method.max_tokens, device=self.loaded.model.device)
        fixed = self._fixed(cut)
        assert fixed is not None
        total = torch.zeros(len(flat), dtype=torch.float64, device=self.loaded.model.device)
        for piece, ref_M in zip(cut, fixed, strict=True):
            of_token = policy.kl_estimate(piece.old_M, ref_M, estimator=kl.estimator)
            total.index_add_(0, piece.of_M, of_token.double())
        return kl.beta * total.cpu().view(len(groups), -1)

    def _fixed(self, cut: Sequence[Piece]) -> list[Float[Tensor, " M"]] | None:
        if self.reference is None:
            return None
        of = partial(loss.fixed_logprobs, self.reference, temperature=self.method.objective.temperature)
        with self.clock.part("reference"):
            return [of(piece) for piece in cut]

    def _validated(self, step: int) -> dict[str, float | None]:
        """Validate, unless a run that was killed already has, and tell how it stands."""
        exam, journal = self.method.exam, self.hooks.journal
        if exam is None:
            return {}
        kept = scores = journal.get(VALIDATION, step, Score)
        if scores is None:
            with self.clock.part("validate"):
                scores = validate.sit(self.loaded, exam, step)
        standing = validate.standing(scores)
        told = standing.told()
        first = journal.get(VALIDATION, 0, Score) if step else scores
        assert first is not None
        told["val_gain"] = validate.gain(first, scores).value
        if kept is None:  # not before: one that nobody could grade is sat again by the next attempt
            journal.put(VALIDATION, step, scores)
        self._remember(step, standing.pass_1)
        return told

    def _remember(self, step: int, value: float) -> None:
        """Hold the weights of the best validation so far in the kept state."""
        keeper = self.hooks.keeper
        if self.method.select_best and value > keeper.facts.get("best", -1.0):
            keeper.facts |= {"best": value, "best_step": step}
            keeper.tensors = {name: p.detach().clone() for name, p in self.loaded.model.named_parameters()}

    def _choose(self) -> int:
        keeper = self.hooks.keeper
        if not keeper.tensors:
            return self.method.steps
        with torch.no_grad():
            for name, p in self.loaded.model.named_parameters():
                p.copy_(keeper.tensors[name])
        return int(keeper.facts["best_step"])
