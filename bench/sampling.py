"""Our sampler beside transformers' generate on the reinforcement-learning workload, in useful tokens per CPU-second.

    python bench/sampling.py [--prompts 128] [--group 8] [--slots 256] [--cap 72]

Groups of samples from shared prompts of 18 to 30 tokens at temperature 1. Weights are random, so every id is about
equally likely; a set of ids ends an answer, chosen so that lengths are geometric with the mean of --mean, cut at --cap.
Useful tokens are those up to and including the end; prefill is included in the time. One thread, same dtype in a pair,
transformers gets --batch rows at once, each prompt repeated by num_return_sequences.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from posttrain.models.config import parse
from posttrain.models.decoder import Decoder
from posttrain.models.sample import Request, Sampling, generate

VOCAB, PAD = 430, 0
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "vocab_size": VOCAB,
    "tie_word_embeddings": True,
    "max_position_embeddings": 256,
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Turn = Callable[[Sequence[Request]], int]


def theirs(weights: dict[str, torch.Tensor], dtype: torch.dtype, stops: list[int], cap: int) -> Turn:
    """transformers generate: left-padded prompts; returns useful tokens."""
    model = AutoModelForCausalLM.from_config(Qwen3Config(**SHAPE), dtype=dtype).eval()
    model.load_state_dict(weights, strict=False)

    def turn(requests: Sequence[Request]) -> int:
        width = max(len(r.ids) for r in requests)
        ids = torch.tensor([[PAD] * (width - len(r.ids)) + list(r.ids) for r in requests])
        seen = torch.tensor([[0] * (width - len(r.ids)) + [1] * len(r.ids) for r in requests])
        out = model.generate(
            ids,
            attention_mask=seen,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=cap,
            eos_token_id=stops,
            pad_token_id=PAD,
            num_return_sequences=requests[0].samples,
        )[:, width:]
        ended = torch.isin(out, torch.tensor(stops))
        first = torch.where(ended.any(1), ended.int().argmax(1) + 1, out.shape[1])
        return int(first.sum())

    return turn


def ours(weights: dict[str, torch.Tensor], dtype: torch.dtype, stops: list[int], cap: int, slots: int) -> Turn:
    """The sampler of this repository; returns useful tokens."""
    model = Decoder(parse({"model_type": "qwen3", **SHAPE}), compute=dtype)
    model.load_state_dict(weights, strict=False)

    def turn(requests: Sequence[Request]) -> int:
        found = generate(model, requests, Sampling(max_new_tokens=cap), stop_ids=frozenset(stops), slots=slots)
        return sum(len(c.ids) for group in found for c in group)

    return turn


def main() -> None:
    """Print useful tokens per CPU-second of every arm, and the ratio within each dtype."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--batch", type=int, default=256, help="rows transformers gets at once")
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--cap", type=int, default=72)
    parser.add_argument("--mean", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    draw = random.Random(0)
    stops = list(range(1, 1 + max(1, VOCAB // options.mean)))
    weights = AutoModelForCausalLM.from_config(Qwen3Config(**SHAPE), dtype=torch.float32).state_dict()
    requests = [
        Request(
            tuple(draw.randrange(20, VOCAB) for _ in range(draw.randint(18, 30))), draw.getrandbits(63), options.group
        )
        for _ in range(options.prompts)
    ]
    at_once = max(1, options.batch // options.group)
    print(
        f"{options.prompts} prompts x {options.group}, cap {options.cap}, {options.slots} slots, batch {options.batch}"
    )
    for name, dtype in DTYPES.items():
        peer = theirs(weights, dtype, stops, options.cap)
        own = ours(weights, dtype, stops, options.cap, options.slots)
        for warm in (peer, own):
            warm(requests[:2])
        useful, spent = {peer: 0, own: 0}, {peer: 0.0, own: 0.0}
        for start in range(0, len(requests), at_once):
            before = time.process_time()
            useful[peer] += peer(requests[start : start + at_once])
            spent[peer] += time.process_time() - before
        before = time.process_time()
        useful[own] += own(requests)
        spent[own] += time.process_time() - before
        rates = [useful[arm] / spent[arm] for arm in (peer, own)]
        print(
            f"{name}  transformers {rates[0]:8.0f} tok/cpu-s   posttrain {rates[1]:8.0f}   x{rates[1] / rates[0]:5.2f}"
        )


if __name__ == "__main__":
    main()
