"""Drawing a token: an own stream of numbers per sample, and the inverse of the cumulative distribution.

A number is a hash of (seed of the request, sample, position), so what is drawn for one sample does not depend on
which others are in the batch. Cumulative sums are many times cheaper on a CPU than torch.multinomial.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

_WORD = 2**64
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen and when an answer is cut."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    """Keep the most likely tokens whose mass before the last of them is below this."""
    top_k: int = 0
    """Keep this many tokens; 0 keeps all."""
    greedy: bool = False
    """The most likely token, whatever the temperature."""

    def __post_init__(self) -> None:
        """Refuse values that draw nothing."""
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}; at least 1 token is drawn")
        if not self.greedy and self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature}; above 0, or greedy")
        if not 0 < self.top_p <= 1 or self.top_k < 0:
            raise ValueError(f"top_p is {self.top_p}, top_k is {self.top_k}; 0 < top_p ≤ 1, top_k ≥ 0")


class Chosen(NamedTuple):
    """One token per row and its log-probability in nats."""

    ids: Int[Tensor, " n"]
    logprobs: Float[Tensor, " n"]


def stream_key(seed: int, sample: int) -> int:
    """The state of a sample's own stream, as a signed 64-bit word."""
    word = _mixed(_mixed(seed % _WORD) + sample * _GOLDEN)
    return word - _WORD if word >= _WORD // 2 else word


def _mixed(word: int) -> int:
    """The output function of splitmix64 (Steele, Lea, Flood 2014) on Python integers."""
    word %= _WORD
    word = (word ^ (word >> 30)) * _FIRST % _WORD
    word = (word ^ (word >> 27)) * _SECOND % _WORD
    return word ^ (word >> 31)


def uniform(keys: Int[Tensor, " n"], positions: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Number `positions` of each stream, in [0, 1) with 24 bits: splitmix64 in wrapping 64-bit arithmetic."""
    word = keys + (positions + 1) * _signed(_GOLDEN)
    word = (word ^ _shifted(word, 30)) * _signed(_FIRST)
    word = (word ^ _shifted(word, 27)) * _signed(_SECOND)
    word = word ^ _shifted(word, 31)
    return _shifted(word, 40).float() * 2.0**-24


def _signed(word: int) -> int:
    return word - _WORD if word >= _WORD // 2 else word


def _shifted(word: Tensor, bits: int) -> Tensor:
    """Logical shift to the right of signed words."""
    return (word >> bits) & (2 ** (64 - bits) - 1)


def choose(
    logits: Float[Tensor, "n V"], sampling: Sampling, keys: Int[Tensor, " n"], positions: Int[Tensor, " n"]
) -> Chosen:
    """One token per row. Log-probabilities are of logits over temperature and the whole vocabulary."""
    if sampling.greedy:
        best = logits.max(-1)
        return Chosen(best.indices, best.values - logits.logsumexp(-1))
    probabilities = torch.softmax(logits if sampling.temperature == 1.0 else logits / sampling.temperature, -1)
    kept = probabilities
    if sampling.top_k or sampling.top_p < 1.0:
        kept = _nucleus(probabilities, sampling)
    sums = kept.cumsum(-1, dtype=torch.float64 if kept.is_cuda else None)
    aim = uniform(keys, positions).to(sums.dtype).unsqueeze(-1) * sums[:, -1:]
    ids = torch.searchsorted(sums, aim, right=True).clamp_(max=logits.shape[-1] - 1)
    return Chosen(ids.squeeze(-1), probabilities.gather(-1, ids).log_().squeeze(-1))


def _nucleus(probabilities: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities with all but the top k, then all but the top p of what is left, set to 0.

    A token stays where it is as likely as the last one kept. numpy sorts many times faster than torch on a CPU.
    """
    if probabilities.is_cuda:
        rising = probabilities.sort(dim=-1).values
    else:
        rising = torch.from_numpy(np.sort(probabilities.numpy(), axis=-1))
    if sampling.top_k:
        rising[:, : -sampling.top_k] = 0.0
    sums = rising.cumsum(-1, dtype=torch.float64)
    last = torch.searchsorted(sums, (1 - sampling.top_p) * sums[:, -1:], right=True).clamp_(max=rising.shape[-1] - 1)
    return probabilities * (probabilities >= rising.gather(-1, last))
