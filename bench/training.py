"""Our fine-tuning step beside a plain transformers loop on the same rows, in useful tokens per CPU-second.

    python bench/training.py [--steps 6] [--rows 128]

Rows are solutions of the built-in world, prompts masked. The plain loop is what a trainer does by default: rows in
random order, padded to the longest of the batch, labels -100, loss from the model, AdamW; float32, and bf16 autocast.
Ours packs the same rows and runs the head where a token is trained. Both start from the same weights, clip at 1 and
take turns, so that a neighbour's load falls on both; the losses stand beside the rates. Padding is not counted.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from posttrain.curate import worlds
from posttrain.data.chat import DEFAULT_PROMPTING
from posttrain.data.pack import Example
from posttrain.models import load
from posttrain.models.tokens import train_tokenizer
from posttrain.train import lm, loop, material, optim

LR = 6e-4
Step = Callable[[Sequence[Example]], float]


def ours(folder: Path, compute: str) -> Step:
    """One optimiser step of this repository; returns the loss."""
    model = load.load(folder, compute=compute).model
    optimiser = optim.adamw(model)
    optimiser.set_lr(LR)

    def step(rows: Sequence[Example]) -> float:
        draw = lm.Draw(rows=len(rows), max_tokens=8192, window=128, packing=True, seed=0)
        parts = lm.parts(model, draw.batches(rows, 0))
        return loop.update(model, optimiser, parts, clip=1.0, step=1).loss

    return step


def theirs(folder: Path, autocast: bool) -> Step:
    """One optimiser step of a plain loop around transformers' model; returns the loss."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0)

    def step(rows: Sequence[Example]) -> float:
        width = max(len(row.ids) for row in rows)
        ids = torch.tensor([[*row.ids, *[0] * (width - len(row.ids))] for row in rows])
        seen = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
        marks = torch.tensor([[*row.mask, *[False] * (width - len(row.ids))] for row in rows])
        labels = torch.where(marks, ids, -100)
        with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            loss = model(input_ids=ids, attention_mask=seen, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.item()

    return step


def rows_and_model(folder: Path, count: int) -> list[Example]:
    """Save the tiny preset with random weights, and return rows of all domains."""
    problems = [p for d in worlds.DOMAINS for p in worlds.draw(d, "train", -(-count // 8), 1)]
    turns = material.turns(problems)
    preset = load.preset("tiny:base")
    tokenizer = train_tokenizer((f"{t.prompt}\n{t.response}" for t in turns), preset.tokenizer)
    loaded = load.build(preset.config, tokenizer, DEFAULT_PROMPTING.model_dump(), 1)
    load.save(loaded, folder)
    return material.asked(loaded).examples(turns)


def main() -> None:
    """Print useful tokens per CPU-second and the last loss of every arm, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rows", type=int, default=128)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        rows = rows_and_model(Path(name), (options.steps + 1) * options.rows)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
        arms: dict[str, Step] = {
            "transformers fp32": theirs(Path(name), autocast=False),
            "transformers bf16 autocast": theirs(Path(name), autocast=True),
            "posttrain fp32": ours(Path(name), "fp32"),
            "posttrain bf16": ours(Path(name), "bf16"),
        }
        spent, losses, useful = dict.fromkeys(arms, 0.0), dict.fromkeys(arms, 0.0), 0
        for number in range(options.steps + 1):
            batch = [rows[i] for i in order[number * options.rows : (number + 1) * options.rows]]
            for arm, step in arms.items():
                before = time.process_time()
                losses[arm] = step(batch)
                spent[arm] += time.process_time() - before if number else 0.0
            useful += sum(len(row.ids) for row in batch) if number else 0
    rates = {arm: useful / spent[arm] for arm in arms}
    print(f"{options.steps} steps of {options.rows} rows, {useful} tokens, one thread, {torch.__version__}")
    for arm, rate in rates.items():
        print(f"{arm:28s} {rate:8.0f} tok/cpu-s   x{rate / rates['transformers fp32']:5.2f}   loss {losses[arm]:.3f}")
    ratio = rates["posttrain bf16"] / rates["transformers bf16 autocast"]
    print(f"posttrain bf16 over transformers bf16 autocast: x{ratio:.2f}")


if __name__ == "__main__":
    main()
