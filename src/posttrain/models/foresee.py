"""What model an input will be, before anything runs; no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posttrain.models.config import read_config
from posttrain.models.presets import presets
from posttrain.spec.errors import UsageError
from posttrain.spec.stage import Foreseen


def config_of(models: tuple[Foreseen, ...]) -> Mapping[str, Any] | None:
    """The config of a model to come: of its folder, or of the preset or folder it goes back to; None: nobody knows."""
    while models:
        first = models[0]
        name = str(first.knobs.get("id", "")) if first.kind == "base" else ""
        if name in presets():
            return {**presets()[name].config, "vocab_size": presets()[name].tokenizer.size}
        folder = first.artifact.path if first.artifact is not None else Path(name) if name else None
        if folder is not None:
            return _read(folder)
        models = first.inputs.get("model") or first.inputs.get("models") or ()
    return None


def too_long(window: int, models: tuple[Foreseen, ...]) -> str:
    """Why a window does not fit a model to come; empty where it does, or nobody knows."""
    positions = (config_of(models) or {}).get("max_position_embeddings")
    if not isinstance(positions, int) or window <= positions:
        return ""
    return (
        f"max_seq_length = {window} is more than the {positions} positions of the model: make it {positions} or less, "
        "or take a base that has more"
    )


def _read(folder: Path) -> Mapping[str, Any] | None:
    try:
        return read_config(folder)
    except UsageError:
        return None
