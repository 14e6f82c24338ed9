"""Planted defects of the kind fuse: other shares than those recorded, strangers, a swapped weight file."""

import json
from collections.abc import Callable
from typing import Any

from posttrain.trials.planted import Change, Mismatched, Planted, Replaced, Seat
from posttrain.trials.planted.base import rewrite, unsound

_SHIFT = 1e-3
"""Of the first share to the last."""


def _other_shares(merge: Callable[..., Any]) -> Callable[..., Any]:
    def merged(sources: Any, shares: tuple[float, ...], *rest: Any, **options: Any) -> Any:
        return merge(sources, (shares[0] - _SHIFT, *shares[1:-1], shares[-1] + _SHIFT), *rest, **options)

    return merged


def _other_tokenizer(seat: Seat) -> None:
    """The first expert calls its last token otherwise."""
    if seat.place:
        return
    place = seat.folder / "tokenizer.json"
    told = json.loads(place.read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = told["model"]["vocab"]
    merges: list[Any] = told["model"]["merges"]
    last = max(vocabulary, key=lambda token: vocabulary[token])
    vocabulary[f"{last}~"] = vocabulary.pop(last)
    told["model"]["merges"] = merges[:-1]
    place.write_text(json.dumps(told), encoding="utf-8")


def _other_shape(seat: Seat) -> None:
    """The feed-forward of the first expert is one row narrower."""
    if seat.place:
        return
    place = seat.folder / "config.json"
    config = json.loads(place.read_text(encoding="utf-8"))
    config["intermediate_size"] -= 1
    place.write_text(json.dumps(config), encoding="utf-8")
    rewrite(seat.folder, _narrower)


def _narrower(name: str, tensor: Any) -> Any:
    if ".mlp." not in name:
        return tensor
    return tensor[:, :-1] if ".down_proj." in name else tensor[:-1]


def _swapped(seat: Seat) -> None:
    """Other weights under the manifest of these: every tensor upside down."""
    rewrite(seat.folder, lambda _, tensor: tensor.flip(0))


PLANTED = (
    *unsound("fuse"),
    Planted(
        "fuse",
        "averaged",
        "shares off by 0.001 from those recorded",
        Change(during=(Replaced("posttrain.models.weights", "merge", _other_shares),)),
    ),
)
MISMATCHES = (
    Mismatched(
        "fuse",
        "tokenizer",
        "an expert with another tokenizer",
        Change(inputs={"models": _other_tokenizer}),
        "tokenizer",
    ),
    Mismatched("fuse", "shape", "an expert of another shape", Change(inputs={"models": _other_shape}), "shape"),
    Mismatched(
        "fuse",
        "digest",
        "a weight file swapped behind its manifest's back",
        Change(inputs={"models": _swapped}, loose=True),
        "model.safetensors has changed",
    ),
)
