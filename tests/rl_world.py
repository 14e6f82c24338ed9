"""A small world for tests of rollouts and reinforcement learning: a random model of 30 thousand parameters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from posttrain.data import rows
from posttrain.data.records import Problem
from posttrain.graders.base import Grade
from posttrain.models.load import Loaded, build, save
from posttrain.models.presets import Vocabulary
from posttrain.models.tokens import train_tokenizer

CONFIG: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "initializer_range": 0.02,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}


@cache
def tokenizer() -> Any:
    return train_tokenizer(["What is 1 + 2 ? \\boxed{3}"] * 3, Vocabulary(size=280))


def model(seed: int = 0) -> Loaded:
    """Half of the vocabulary ends an answer, so that a random model answers in a few tokens."""
    loaded = build(CONFIG, tokenizer(), {}, seed)
    return replace(loaded, generation={"eos_token_id": list(range(1, len(tokenizer()), 2))})


def folder(path: Path, seed: int = 0) -> Path:
    save(model(seed), path)
    return path


def problems(n: int, domain: str = "algebra", *, start: int = 0) -> list[Problem]:
    return [
        Problem(id=f"{domain}-{i}", domain=domain, prompt=f"What is {i} + {i}?", answer=str(2 * i))
        for i in range(start, start + n)
    ]


def write(path: Path, **splits: Sequence[Problem]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in ("train", "val"):
        rows.write(path / f"{name}.jsonl", splits.get(name, ()))
    return path


@dataclass(frozen=True)
class By:
    """Grades every response of a batch by one function."""

    grade: Callable[[Problem, str], Grade]

    def grade_all(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Grade]:
        return [self.grade(problem, text) for problem, text in zip(problems, texts, strict=True)]


def _likes_words(_: Problem, text: str) -> Grade:
    return Grade(correct=bool(text), outcome="right" if text else "no_answer", answer=text or None)


LIKES_WORDS = By(_likes_words)
"""A reward that a random model earns half the time and learns in a few steps: say anything, and end."""
