"""Planted defects of the kind sft: labels on the prompt, a small window, a rate of nothing."""

from collections.abc import Callable
from functools import partial
from typing import Any

from posttrain.trials.planted import Change, Planted, Replaced
from posttrain.trials.planted.base import unsound


def _prompt_labelled(examples: Callable[..., Any]) -> Callable[..., Any]:
    return partial(examples, prompt_trained=True)


PLANTED = (
    *unsound("sft"),
    Planted(
        "sft",
        "masks",
        "labels on the prompt",
        Change(during=(Replaced("posttrain.train.material", "examples", _prompt_labelled),)),
    ),
    Planted("sft", "rows_kept", "a window of 32", Change(knobs={"max_seq_length": 32})),
    Planted("sft", "loss_falls", "lr = 0", Change(knobs={"lr": 0.0})),
)
