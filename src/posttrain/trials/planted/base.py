"""Planted defects of the kind base, and the five damages that `sound` must see in every model."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from posttrain.trials.planted import Change, Planted


def _config_deleted(folder: Path) -> None:
    (folder / "config.json").unlink()


def _shard_truncated(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def _tokenizer_deleted(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def _nan(folder: Path) -> None:
    def spoil(name: str, tensor: Any) -> Any:
        if name == "model.norm.weight":
            tensor[3] = float("nan")
        return tensor

    rewrite(folder, spoil)


def rewrite(folder: Path, change: Callable[[str, Any], Any]) -> None:
    """Write a model folder's weights anew, each tensor as `change` makes it from its name and what it was."""
    files: Any = importlib.import_module("safetensors.torch")
    weights = folder / "model.safetensors"
    tensors = {name: change(name, tensor).contiguous() for name, tensor in files.load_file(weights).items()}
    files.save_file(tensors, weights, metadata={"format": "pt"})


def _adapter_alone(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}\n', encoding="utf-8")


DAMAGES = {
    "config.json deleted": _config_deleted,
    "its weight file truncated": _shard_truncated,
    "its tokenizer deleted": _tokenizer_deleted,
    "one weight NaN": _nan,
    "an adapter without its base": _adapter_alone,
}


def unsound(kind: str) -> tuple[Planted, ...]:
    """The five damages, each to the model that a kind made."""
    return tuple(Planted(kind, "sound", says, Change(after=damage)) for says, damage in DAMAGES.items())


PLANTED = unsound("base")
