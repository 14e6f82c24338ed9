"""Sampling: many answers to many prompts, each with its own random stream, exact ids and log-probabilities.

One prefill serves all samples of a prompt. Slots are refilled as answers finish, so a batch stays full while there is
work (continuous batching); at the end the remaining slots move together.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from posttrain.models.decoder import Decoder
from posttrain.models.kernels.decode import Generator, Prefix, forget, slots_for
from posttrain.models.kernels.draw import Chosen, Sampling, choose, stream_key
from posttrain.spec.errors import StageFailed, UsageError

__all__ = ["Completion", "Request", "Sampling", "generate"]

PREFILL_TOKENS = 4096
"""Prompts are run together up to this many tokens, padding included."""

REFILL = 16
"""Slots are refilled, and at the end moved together, once one in so many is free."""


@dataclass(frozen=True)
class Request:
    """A prompt and how many answers to draw."""

    ids: tuple[int, ...]
    seed: int
    samples: int
    key: str = ""


@dataclass(frozen=True)
class Completion:
    """One answer: the ids as drawn (with the stop id where there is one) and their log-probabilities in nats."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Literal["stop", "length"]


class _Job(NamedTuple):
    request: int
    sample: int


def generate(
    model: Decoder,
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    stop_ids: frozenset[int],
    slots: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[Completion]]:
    """Every sample of every request, in order. Draws of a sample depend on its request's seed and its number alone.

    `slots` is how many samples are drawn side by side; without it, what a fixed share of memory holds.
    `progress` is told (answers finished, answers in all). Raises UsageError for an empty prompt or ids the model does
    not know, StageFailed where logits are not finite.
    """
    _refuse(model, requests, sampling)
    jobs = [_Job(r, s) for r, request in enumerate(requests) for s in range(request.samples)]
    if not jobs:
        return [[] for _ in requests]
    with torch.inference_mode():
        capacity = max(len(request.ids) for request in requests) + sampling.max_new_tokens
        run = _Run(model, requests, sampling, stop_ids, min(slots or slots_for(model, capacity), len(jobs)))
        run.waiting.extend(jobs)
        while run.waiting or run.active:
            run.refill()
            if run.active:
                run.step()
            if progress is not None and run.news:
                progress(len(run.done), len(jobs))
                run.news = False
    return [[run.done[r, s] for s in range(request.samples)] for r, request in enumerate(requests)]


class _Run:
    """The state of one generation: which sample is in which slot, and what it has drawn."""

    def __init__(
        self, model: Decoder, requests: Sequence[Request], sampling: Sampling, stop_ids: frozenset[int], slots: int
    ) -> None:
        capacity = max(len(request.ids) for request in requests) + sampling.max_new_tokens
        self.model, self.requests, self.sampling = model, requests, sampling
        self.generator = Generator(model, slots, capacity)
        device = model.device
        self.stops = torch.zeros(model.config.vocab, dtype=torch.bool, device=device)
        self.stops[[i for i in stop_ids if 0 <= i < model.config.vocab]] = True
        self.ids, self.positions, self.counts, self.keys = (
            torch.zeros(slots, dtype=torch.long, device=device) for _ in range(4)
        )
        self.drawn = torch.zeros(slots, sampling.max_new_tokens, dtype=torch.long, device=device)
        self.logprobs = torch.zeros(slots, sampling.max_new_tokens, device=device)
        self.owner: list[_Job | None] = [None] * slots
        self.active = 0
        self.used = 0
        self.reach = 0
        self.waiting: deque[_Job] = deque()
        self.prefixes: dict[int, tuple[Prefix, int]] = {}
        self.done: dict[tuple[int, int], Completion] = {}
        self.news = False

    def refill(self) -> None:
        """Put waiting samples into free slots, or, where none waits, move the last ones together."""
        free = len(self.owner) - self.active
        if not self.waiting:
            if self.active + max(1, self.used // REFILL) <= self.used:
                self._together()
        elif free * REFILL >= len(self.owner) or not self.active:
            slots = [slot for slot, job in enumerate(self.owner) if job is None][: len(self.waiting)]
            self._admit(slots, [self.waiting.popleft() for _ in slots])

    def step(self) -> None:
        """One token for every slot in use."""
        self.reach += 1
        if self.reach > self.generator.columns:
            self.reach = int(self.positions.max()) + 1
            self.generator.reach(self.reach)
        rows = slice(0, min(len(self.owner), _rounded(self.used)))
        logits = self.generator.step(self.ids[rows], self.positions[rows])
        chosen = choose(logits, self.sampling, self.keys[rows], self.counts[rows])
        self._record(torch.arange(rows.stop, device=self.model.device), chosen)

    def _admit(self, slots: list[int], jobs: list[_Job]) -> None:
        device = self.model.device
        for job in jobs:
            if job.request not in self.prefixes:
                self._prefill(job.request)
        chosen = {id(self.prefixes[job.request][0]): self.prefixes[job.request][0] for job in jobs}
        for prefix in chosen.values():
            mine = [
                (slot, job) for slot, job in zip(slots, jobs, strict=True) if self.prefixes[job.request][0] is prefix
            ]
            at = torch.tensor([slot for slot, _ in mine], device=device)
            rows = torch.tensor([self.prefixes[job.request][1] for _, job in mine], device=device)
            lengths = [len(self.requests[job.request].ids) for _, job in mine]
            for slot, job in mine:
                self.owner[slot] = job
            self.active += len(mine)
            self.generator.admit(at, prefix, rows)
            self.used = max(self.used, max(slots) + 1)
            self.reach = max(self.reach, *lengths)
            keys = [stream_key(self.requests[job.request].seed, job.sample) for _, job in mine]
            self.keys[at] = torch.tensor(keys, device=device)
            self.positions[at] = torch.tensor(lengths, device=device) - 1
            self.counts[at] = 0
            self._record(at, choose(prefix.logits[rows], self.sampling, self.keys[at], self.counts[at]))
        first = self.waiting[0].request if self.waiting else len(self.requests)
        self.prefixes = {request: kept for request, kept in self.prefixes.items() if request >= first}

    def _prefill(self, first: int) -> None:
        last, width = first, 0
        while last < len(self.requests):
            width = max(width, len(self.requests[last].ids))
            if last > first and width * (last + 1 - first) > PREFILL_TOKENS:
                break
            last += 1
        prefix = self.generator.prefill([request.ids for request in self.requests[first:last]])
        self.prefixes.update({request: (prefix, request - first) for request in range(first, last)})

    def _record(self, rows: Tensor, chosen: Chosen) -> None:
        """Note what was drawn in `rows`, and take out the samples that are finished."""
        counts = self.counts[rows]
        self.drawn[rows, counts] = chosen.ids
        self.logprobs[rows, counts] = chosen.logprobs
        self.ids[rows] = chosen.ids
        self.counts[rows] = counts + 1
        self.positions[rows] += 1
        ended = self.stops[chosen.ids] | (counts + 1 >= self.sampling.max_new_tokens)
        if ended.any():
            self._finish(rows[ended])

    def _finish(self, rows: Tensor) -> None:
        counts, slots = self.counts[rows].tolist(), rows.tolist()
        logprobs = self.logprobs[rows]
        if not bool(logprobs.isfinite().all()):
            forget(self.model)
            raise StageFailed(
                "the model's logits are not finite.",
                remedy="Its weights are damaged or trained too fast: see gate `sound` of its stage, or lower that lr.",
            )
        for slot, count, ids, row in zip(slots, counts, self.drawn[rows].tolist(), logprobs.tolist(), strict=True):
            job = self.owner[slot]
            self.owner[slot] = None
            if job is None:
                continue
            self.active -= 1
            stopped = bool(self.stops[ids[count - 1]])
            self.done[job] = Completion(tuple(ids[:count]), tuple(row[:count]), "stop" if stopped else "length")
            self.news = True
        self.counts[rows] = 0
        self.positions[rows] = 0

    def _together(self) -> None:
        """Move the last samples into the holes before them."""
        held = [slot for slot in range(self.used) if self.owner[slot] is not None]
        holes = [slot for slot in range(len(held)) if self.owner[slot] is None]
        movers = held[len(held) - len(holes) :]
        if movers:
            to, source = (torch.tensor(x, device=self.model.device) for x in (holes, movers))
            self.generator.move(to, source)
            for state in (self.ids, self.positions, self.counts, self.keys, self.drawn, self.logprobs):
                state[to] = state[source]
            self.counts[source] = 0
            self.positions[source] = 0
            for hole, mover in zip(holes, movers, strict=True):
                self.owner[hole], self.owner[mover] = self.owner[mover], None
        self.used = len(held)


def _rounded(rows: int) -> int:
    """Rows of a step, idle ones included: few distinct numbers, as a CPU compiles its products for each anew (1 ms)."""
    grid = 16 if rows <= 128 else 32 if rows <= 256 else 64
    return -(-rows // grid) * grid


def _refuse(model: Decoder, requests: Sequence[Request], sampling: Sampling) -> None:
    for request in requests:
        if not request.ids:
            raise UsageError("an empty prompt cannot be answered.", where=request.key)
        if not 0 <= min(request.ids) <= max(request.ids) < model.config.vocab:
            raise UsageError(f"the prompt holds ids outside 0…{model.config.vocab - 1}.", where=request.key)
        length = len(request.ids) + sampling.max_new_tokens
        if model.config.rope.kind == "dynamic" and length > model.config.max_positions:
            raise UsageError(
                f"dynamic rope is sampled within its {model.config.max_positions} positions; {length} are asked for.",
                where=request.key,
            )
