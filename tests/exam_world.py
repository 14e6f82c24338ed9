"""A small world for tests of exams and probes: a model of 30 thousand parameters that learns to guess a boxed digit."""

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from posttrain.data import rows
from posttrain.data.chat import DEFAULT_PROMPTING, Turn, examples
from posttrain.data.pack import micro_batches
from posttrain.data.records import Problem
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
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "initializer_range": 0.02,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
DIGITS = 4
STEPS = (9, 20, 100)
"""Checkpoints by number; by name step-100 would come first."""


def problems(n: int, domain: str = "algebra") -> list[Problem]:
    """Guess one of four digits: a formed guess is right once in four."""
    return [Problem(id=f"{domain}-{i}", domain=domain, prompt=f"Guess {i}.", answer=str(i % DIGITS)) for i in range(n)]


def data(folder: Path, **splits: Sequence[Problem]) -> Path:
    """A data artifact's folder with these splits; those not named are empty."""
    folder.mkdir(parents=True)
    for name in ("train", "probe", "val", "test"):
        rows.write(folder / f"{name}.jsonl", splits.get(name, ()))
    return folder


@cache
def _trajectory() -> tuple[Loaded, dict[int, dict[str, torch.Tensor]]]:
    """The weights at each step: at first it does not box, at last it boxes any of the digits."""
    texts = ["Guess 0123456789. \\boxed{1}\n"] * 3
    loaded = build(CONFIG, train_tokenizer(texts, Vocabulary(size=300)), {}, 0)
    rng = random.Random(0)
    turns = [Turn(f"Guess {i}.", f"\\boxed{{{rng.randrange(DIGITS)}}}") for i in range(256)]
    shown = examples(loaded.tokenizer, turns, DEFAULT_PROMPTING)
    optimiser = torch.optim.Adam(loaded.model.parameters(), lr=1e-2)
    kept: dict[int, dict[str, torch.Tensor]] = {}
    for step in range(1, max(STEPS) + 1):
        (batch,) = micro_batches(rng.sample(shown, 32), max_tokens=4096, packing=False, window=64)
        logp = torch.log_softmax(loaded.model(batch.ids)[:, :-1], dim=-1)
        taken = logp.gather(2, batch.ids[:, 1:, None]).squeeze(2)
        loss = -taken[batch.targets[:, 1:]].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step in STEPS:
            kept[step] = {name: tensor.detach().clone() for name, tensor in loaded.model.state_dict().items()}
    return loaded, kept


def trajectory(folder: Path, steps: Sequence[int] = STEPS) -> Path:
    """A trained model's folder as sft leaves it: `steps/step-N/`, the last on top, rows and reports beside."""
    loaded, kept = _trajectory()
    for step in steps:
        loaded.model.load_state_dict(kept[step])
        save(loaded, folder / "steps" / f"step-{step}")
    save(loaded, folder)
    (folder / "training.json").write_text("{}\n")
    rows.write(folder / "val.jsonl", [])
    return folder
