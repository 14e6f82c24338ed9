"""Training steps of our decoder beside transformers' own model on the same batches, in tokens per CPU-second.

    python bench/forward.py [--steps 16] [--batch-tokens 4096] [--preset tiny]

Batches are documents of natural lengths (a prompt, then a short or a long solution), sorted by length and padded on
the right; only real tokens count. Every arm does forward, mean cross-entropy, backward, clipping and AdamW on one
thread. The arms take turns, so that a neighbour's load falls on all of them.
"""

import argparse
import random
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, Qwen3Config

from posttrain.models.config import parse
from posttrain.models.decoder import Decoder

SHAPES = {
    "tiny": {"hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 2},
    "small": {"hidden_size": 192, "intermediate_size": 512, "num_attention_heads": 3},
}
SHARED = {"vocab_size": 369, "num_hidden_layers": 4, "num_key_value_heads": 1, "head_dim": 64}


def batches(count: int, tokens: int, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of padded ids and real lengths; a batch holds documents of nearly one length."""
    draw = random.Random(seed)
    documents = count * tokens // 32
    rest = sorted(draw.randint(18, 30) + (4 if draw.random() < 0.5 else draw.randint(20, 60)) for _ in range(documents))
    cut: list[list[int]] = []
    while rest:
        rows = tokens // rest[-1]
        cut.append(rest[-rows:])
        del rest[-rows:]
    chosen = [cut[i * (len(cut) - 1) // max(1, count - 1)] for i in range(count)]
    return [(torch.randint(3, 369, (len(rows), max(rows))), torch.tensor(rows)) for rows in chosen]


def step_of(
    logits: Callable[[torch.Tensor], torch.Tensor], parameters: list[torch.nn.Parameter]
) -> Callable[[torch.Tensor, torch.Tensor], float]:
    """One whole training step over an arm's forward."""
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, fused=True)

    def step(ids: torch.Tensor, real: torch.Tensor) -> float:
        labels = ids.masked_fill(torch.arange(ids.shape[1]) >= real.unsqueeze(1), -100)[:, 1:].flatten()
        loss = F.cross_entropy(logits(ids)[:, :-1].flatten(0, 1).float(), labels, ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def arms(shape: str) -> dict[str, Callable[[torch.Tensor, torch.Tensor], float]]:
    """The arms by name; each has its own copy of one random model."""
    config = Qwen3Config(tie_word_embeddings=True, max_position_embeddings=128, **SHARED, **SHAPES[shape])
    plain, autocast = (AutoModelForCausalLM.from_config(config, dtype=torch.float32) for _ in range(2))
    decoder = parse(config.to_dict())
    full, ours = Decoder(decoder), Decoder(decoder, compute=torch.bfloat16)
    for model in (autocast, full, ours):
        model.load_state_dict(plain.state_dict(), strict=False)

    def under_autocast(ids: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return autocast(ids).logits

    return {
        "transformers fp32": step_of(lambda ids: plain(ids).logits, list(plain.parameters())),
        "transformers bf16 autocast": step_of(under_autocast, list(autocast.parameters())),
        "posttrain fp32": step_of(full, list(full.parameters())),
        "posttrain bf16": step_of(ours, list(ours.parameters())),
    }


def main() -> None:
    """Print tokens per CPU-second of every arm, and ratios to the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--preset", choices=sorted(SHAPES), default="tiny")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    named = arms(options.preset)
    data = batches(options.steps, options.batch_tokens)
    spent = dict.fromkeys(named, 0.0)
    losses = dict.fromkeys(named, 0.0)
    for step in named.values():
        step(*data[0])
    for ids, real in data:
        for name, step in named.items():
            before = time.process_time()
            losses[name] = step(ids, real)
            spent[name] += time.process_time() - before
    useful = sum(int(real.sum()) for _, real in data)
    first = next(iter(named))
    print(f"{useful} tokens in {len(data)} batches of at most {options.batch_tokens} places, model {options.preset}")
    for name, seconds in spent.items():
        rate = useful / seconds
        print(f"{name:28s} {rate:9.0f} tok/cpu-s   x{spent[first] / seconds:5.2f}   last loss {losses[name]:.4f}")


if __name__ == "__main__":
    main()
