"""Our sampler beside transformers' generate on the reinforcement-learning workload, in useful tokens per CPU-second.

    python bench/sampling.py [--rounds 4] [--prompts 32] [--group 8] [--cap 72] [--mean 32]

Groups of samples from shared prompts of 18 to 30 tokens at temperature 1. Weights are random, so every id is about
equally likely; a set of ids ends an answer, chosen so that lengths are geometric with mean --mean, cut at --cap. Useful
tokens are those up to and including the end; prefill is included in the time. One thread, one dtype per line. The arms
take turns with the same prompts; transformers gets a turn's prompts in one batch, repeated by num_return_sequences.
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


def ours(weights: dict[str, torch.Tensor], dtype: torch.dtype, stops: list[int], cap: int) -> Turn:
    """The sampler of this repository; returns useful tokens."""
    model = Decoder(parse({"model_type": "qwen3", **SHAPE}), compute=dtype)
    model.load_state_dict(weights, strict=False)

    def turn(requests: Sequence[Request]) -> int:
        found = generate(model, requests, Sampling(max_new_tokens=cap), stop_ids=frozenset(stops))
        return sum(len(c.ids) for group in found for c in group)

    return turn


def main() -> None:
    """Print useful tokens per CPU-second of every arm, and the ratio within each dtype."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="turns of each arm")
    parser.add_argument(
        "--prompts", type=int, default=32, help="prompts of one turn: one step of reinforcement learning"
    )
    parser.add_argument("--group", type=int, default=8)
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
        for _ in range(options.rounds * options.prompts)
    ]
    turns = [requests[start : start + options.prompts] for start in range(0, len(requests), options.prompts)]
    print(f"{options.rounds} turns of {options.prompts} prompts x {options.group}, at most {options.cap} tokens each")
    for name, dtype in DTYPES.items():
        own = ours(weights, dtype, stops, options.cap)
        arms = {"transformers": theirs(weights, dtype, stops, options.cap), "posttrain": own}
        useful, spent = dict.fromkeys([*arms, "whole"], 0), dict.fromkeys([*arms, "whole"], 0.0)
        for arm in arms.values():
            arm(requests[:2])
        work = [(label, arm, turn) for turn in turns for label, arm in arms.items()]
        for label, arm, given in [*work, ("whole", own, requests)]:
            before = time.process_time()
            useful[label] += arm(given)
            spent[label] += time.process_time() - before
        rate = {label: useful[label] / spent[label] for label in useful}
        print(
            f"{name}  transformers {rate['transformers']:7.0f} tok/cpu-s   posttrain {rate['posttrain']:7.0f}"
            f"   x{rate['posttrain'] / rate['transformers']:5.2f}   all prompts in one call {rate['whole']:7.0f}"
        )


if __name__ == "__main__":
    main()
