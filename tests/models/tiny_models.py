"""Small real models for the tests of this room."""

from pathlib import Path
from typing import Any

from posttrain.models.load import Loaded, build, save
from posttrain.models.presets import Vocabulary
from posttrain.models.tokens import train_tokenizer

TEXTS = [
    "Find the area of a triangle with base 12 and height 5.\nA=12*5/2=30 \\boxed{30}\n",
    "Solve 3x-7=11.\n3x=18; x=6 \\boxed{6}\n",
    "Find the mean of 4, 8 and 15.\n(4+8+15)/3=9 \\boxed{9}\n",
] * 3
SHAPE: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "initializer_range": 0.15,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}


def tiny(seed: int = 1, **changes: Any) -> Loaded:
    """A random model over a tokenizer made from three sentences."""
    return build({**SHAPE, **changes}, train_tokenizer(TEXTS, Vocabulary(size=400)), {"chat": False}, seed)


def saved(folder: Path, seed: int = 1, **changes: Any) -> Path:
    """The same, as a folder."""
    save(tiny(seed, **changes), folder)
    return folder
