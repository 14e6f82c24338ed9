"""Planted defects of the kind rl: a reward turned round, numbers of another prompt, a dead grader, another anchor."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from posttrain.trials.planted import Change, Planted, Replaced
from posttrain.trials.planted.base import unsound
from posttrain.trials.planted.probe import NEVER_RIGHT, OUT_OF_ORDER, short


def _turned_round(advantage: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **how: -advantage(*given, **how)


def _other_prompt(pieces: Callable[..., Any]) -> Callable[..., Any]:
    """The trainer reads every response after its prompt from back to front: a template that rollouts did not have."""

    def cut(responses: Sequence[Any], **how: Any) -> Any:
        return pieces([replace(each, prompt_ids=each.prompt_ids[::-1]) for each in responses], **how)

    return cut


def _other_anchor(reference: Callable[..., Any]) -> Callable[..., Any]:
    """The reference is the policy with its first weights scaled: another checkpoint than the stage's own start."""

    def anchored(ctx: Any, loaded: Any) -> Any:
        import torch

        model = reference(ctx, loaded)
        with torch.no_grad():
            next(iter(model.parameters())).mul_(1.1)
        return model

    return anchored


def _narrow(honest: Path) -> dict[str, Any]:
    return {"max_seq_length": _prompt_length(honest) + short(honest / "val.jsonl", 0), "lr": 0.0}


def _prompt_length(honest: Path) -> int:
    from posttrain.store.artifact import manifest

    made = manifest(honest)
    assert made is not None
    knobs = made.facts.knobs
    return knobs["max_prompt_length"] or knobs["max_seq_length"] // 4


_TURNED_ROUND = Change(during=(Replaced("posttrain.algos.policy", "group_advantage", _turned_round),))

PLANTED = (
    *unsound("rl"),
    Planted("rl", "no_worse", "the advantage turned round", _TURNED_ROUND),
    Planted("rl", "no_worse", "the advantage of programs turned round", _TURNED_ROUND, domain="code"),
    Planted(
        "rl",
        "same_numbers",
        "rescored under another template, lr = 0",
        Change(knobs={"lr": 0.0}, during=(Replaced("posttrain.train.rl.learn", "pieces", _other_prompt),)),
    ),
    Planted(
        "rl",
        "alive",
        "a grader to whom every answer is wrong",
        Change(during=(NEVER_RIGHT,)),
    ),
    Planted(
        "rl",
        "alive",
        "a sandbox out of order, its errors counted as wrong",
        Change(during=(OUT_OF_ORDER,)),
        domain="code",
    ),
    Planted("rl", "in_window", "a cap at the lower quartile of the lengths, lr = 0", Change(knobs=_narrow)),
    Planted(
        "rl",
        "anchored",
        "another checkpoint as the reference",
        Change(during=(Replaced("posttrain.stages.rl", "_reference", _other_anchor),)),
    ),
)
