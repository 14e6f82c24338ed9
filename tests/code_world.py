"""A small world of programs: a model of 30 thousand parameters that prints one of four digits, runs on, or fails."""

import json
import random
from functools import cache
from pathlib import Path

import torch

from exam_world import CONFIG
from posttrain.data.chat import DEFAULT_PROMPTING, Turn, examples
from posttrain.data.pack import micro_batches
from posttrain.data.records import Problem, Solution
from posttrain.models.load import Loaded, build, save
from posttrain.models.presets import Vocabulary
from posttrain.models.tokens import train_tokenizer

PROGRAMS = ("print(0)", "print(1)", "print(2)", "print(x)")
"""What the model says, each as often: two digits that are ever asked for, one that is not, one that fails."""


def problems(n: int, *, start: int = 0) -> list[Problem]:
    """Print 0 or 1: a formed answer is right once in four."""
    return [
        Problem(
            id=f"code-{i}",
            domain="code",
            prompt=f"Print {i}.",
            answer=json.dumps({"stdin": [["", f"{i % 2}\n"]], "reference": f"print({i % 2})"}),
            answer_type="code",
            solutions=(Solution(style="terse", text=f"print({i % 2})"),),
        )
        for i in range(start, start + n)
    ]


@cache
def _trained() -> Loaded:
    texts = ["Print 0123456789. print(0) print(x)\n"] * 3
    loaded = build(CONFIG, train_tokenizer(texts, Vocabulary(size=300)), {}, 0)
    rng = random.Random(0)
    turns = [Turn(f"Print {i}.", rng.choice(PROGRAMS), "code") for i in range(256)]
    shown = examples(loaded.tokenizer, turns, DEFAULT_PROMPTING)
    optimiser = torch.optim.Adam(loaded.model.parameters(), lr=1e-2)
    for _ in range(100):
        (batch,) = micro_batches(rng.sample(shown, 32), max_tokens=4096, packing=False, window=64)
        logp = torch.log_softmax(loaded.model(batch.ids)[:, :-1], dim=-1)
        taken = logp.gather(2, batch.ids[:, 1:, None]).squeeze(2)
        loss = -taken[batch.targets[:, 1:]].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loaded


def folder(path: Path) -> Path:
    save(_trained(), path)
    return path
