"""A very small real model with its tokenizer, and rows of the built-in world, for the tests of training."""

from functools import cache

from posttrain.curate import worlds
from posttrain.data.chat import DEFAULT_PROMPTING
from posttrain.data.records import Problem
from posttrain.models import load
from posttrain.models.presets import Vocabulary
from posttrain.models.tokens import train_tokenizer

CONFIG = {
    "model_type": "qwen3", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128, "tie_word_embeddings": True,
}  # fmt: skip


@cache
def problems(domain: str, count: int, side: str = "train") -> tuple[Problem, ...]:
    return tuple(worlds.draw(domain, side, count, 5))


@cache
def tokenizer():
    texts = [f"{p.prompt}\n{s.text}" for d in worlds.DOMAINS for p in problems(d, 40) for s in p.solutions]
    return train_tokenizer(texts, Vocabulary(size=640, min_count=2))


def model(seed: int = 3) -> load.Loaded:
    return load.build(CONFIG, tokenizer(), DEFAULT_PROMPTING.model_dump(), seed)
