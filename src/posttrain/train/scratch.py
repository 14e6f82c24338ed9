"""A model from nothing: documents until there are tokens enough, each read once, hidden matrices moved by Muon."""

from collections.abc import Iterable, Sequence
from itertools import islice

from posttrain.data.chat import Turn
from posttrain.data.pack import Example, micro_batches
from posttrain.models.decoder import Decoder
from posttrain.train import loop, optim
from posttrain.train.lm import longest_first, parts
from posttrain.train.material import Asked
from posttrain.train.state import Keeper

CHUNK = 5_000
"""Turns that are tokenised together."""


def gather(turns: Iterable[Turn], asked: Asked, *, tokens: int) -> list[Example]:
    """The first documents of `turns` that hold `tokens` tokens in all; fewer where `turns` ends before."""
    source = iter(turns)
    found: list[Example] = []
    total = 0
    while total < tokens and (chunk := list(islice(source, CHUNK))):
        for document in asked.examples(chunk):
            if total >= tokens:
                break
            found.append(document)
            total += len(document.ids)
    return found


def portions(documents: Sequence[Example], tokens: int) -> list[range]:
    """Consecutive documents of about `tokens` tokens each: what the steps of a pre-training read, in order."""
    found: list[range] = []
    start = total = 0
    for number, document in enumerate(documents, start=1):
        total += len(document.ids)
        if total >= tokens:
            found.append(range(start, number))
            start, total = number, 0
    return found or [range(len(documents))]


def pretrain(
    model: Decoder, documents: Sequence[Example], course: loop.Course, *, steps: Sequence[range], muon: float,
    keeper: Keeper, tell: loop.Tell
) -> float:  # fmt: skip
    """Train from scratch, each document once, packed into rows little wider than the longest; the last step's loss.

    `muon` is the rate of the hidden matrices as a multiple of the course's.
    """
    optimiser = optim.muon(model, times=muon)
    start = keeper.restore(model, optimiser)
    window = -(-max(len(document.ids) for document in documents) // 64) * 64

    def tokens_of(step: int) -> int:
        return sum(len(documents[i].ids) for i in steps[step])

    def step_parts(step: int) -> list[loop.Part]:
        tell.spend(tokens_of(step))
        chosen = longest_first(documents[i] for i in steps[step])
        return parts(model, micro_batches(chosen, max_tokens=len(chosen) * window, packing=True, window=window))

    def after(done: int, report: loop.StepReport) -> None:
        keeper.facts["loss"] = report.loss
        rate, tokens = course.rate(done - 1), tokens_of(done - 1)
        tell.emit(step=done, loss=report.loss, grad_norm=report.grad_norm, lr=rate, tokens=tokens)

    loop.train(model, optimiser, step_parts, course, start=start, keeper=keeper, after=after)
    return keeper.facts["loss"]
