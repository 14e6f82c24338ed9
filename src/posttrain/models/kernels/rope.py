"""Rotary position embedding: frequencies of every supported scaling, and the rotation as a complex product."""

import math
from functools import cache

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from posttrain.models.config import DecoderConfig, Rope


def rotations(config: DecoderConfig, positions: Int[Tensor, "*B T"]) -> Complex[Tensor, "*B T half"]:
    """What multiplies the pairs of a query or key at each position: e^(i·position·frequency), scaled.

    The magnitude holds yarn's attention factor and head_dim^-1/4, so that a product of a rotated query and a rotated
    key is already divided by √head_dim.
    """
    length = None
    if config.rope.kind == "dynamic":
        length = max(int(positions.max()) + 1, config.max_positions)
    frequencies = _frequencies(config, length).to(positions.device)
    angles = positions.unsqueeze(-1).float() * frequencies
    scale = attention_factor(config.rope) * config.head_dim**-0.25
    return torch.polar(torch.full_like(angles, scale), angles)


def rotate(pairs: Float[Tensor, "*B d"], by: Complex[Tensor, "*C half"]) -> Float[Tensor, "*B d"]:
    """Turn each adjacent pair of the last axis, in float32 (float64 stays)."""
    turned = torch.view_as_complex(pairs.unflatten(-1, (-1, 2))) * by
    return torch.view_as_real(turned).flatten(-2)


def paired(rows: Float[Tensor, "rows ..."], head_dim: int) -> Float[Tensor, "rows ..."]:
    """Rows of whole heads, so ordered that the pairs of Hugging Face's layout (i, i + d/2) lie side by side."""
    return rows.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)


def attention_factor(rope: Rope) -> float:
    """Yarn's factor on queries and keys (arXiv 2309.00071, eq. 22; as transformers computes it); 1 otherwise."""
    if rope.kind != "yarn":
        return 1.0
    if rope.attention_factor is not None:
        return rope.attention_factor

    def of(scale: float, mscale: float = 1.0) -> float:
        return 1.0 if scale <= 1 else 0.1 * mscale * math.log(scale) + 1.0

    if rope.mscale and rope.mscale_all_dim:
        return of(rope.factor, rope.mscale) / of(rope.factor, rope.mscale_all_dim)
    return of(rope.factor)


@cache
def _frequencies(config: DecoderConfig, length: int | None) -> Tensor:
    """Radians per position of each pair, float32 as in transformers; `length` counts for dynamic scaling only."""
    with torch.inference_mode(False), torch.device("cpu"):
        rope, dim = config.rope, config.head_dim
        steps = torch.arange(0, dim, 2, dtype=torch.float32) / dim
        theta = rope.theta
        if rope.kind == "dynamic":
            assert length is not None
            stretch = rope.factor * length / config.max_positions - (rope.factor - 1)
            theta *= stretch ** (dim / (dim - 2))
        frequencies = 1.0 / (theta**steps)
        if rope.kind == "linear":
            return frequencies / rope.factor
        if rope.kind == "llama3":
            return _llama3(frequencies, rope)
        if rope.kind == "yarn":
            return _yarn(theta**steps, rope, dim)
        return frequencies


def _llama3(frequencies: Tensor, rope: Rope) -> Tensor:
    """Low frequencies are divided by the factor, high ones kept, a smooth step between them (Llama 3.1)."""
    assert rope.original is not None
    wavelengths = 2 * math.pi / frequencies
    longest, shortest = rope.original / rope.low_freq_factor, rope.original / rope.high_freq_factor
    scaled = torch.where(wavelengths > longest, frequencies / rope.factor, frequencies)
    smooth = (rope.original / wavelengths - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
    between = (1 - smooth) * scaled / rope.factor + smooth * scaled
    medium = (wavelengths >= shortest) & (wavelengths <= longest)
    return torch.where(medium, between, scaled)


def _yarn(powers: Tensor, rope: Rope, dim: int) -> Tensor:
    """Interpolated below beta_slow rotations, kept above beta_fast, a linear ramp between (arXiv 2309.00071 §3.2)."""
    assert rope.original is not None
    original = rope.original

    def pair(turns: float) -> float:
        return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = pair(rope.beta_fast), pair(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001
    ramp = ((torch.arange(dim // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
    kept = 1 - ramp
    return 1.0 / (rope.factor * powers) * (1 - kept) + 1.0 / powers * kept
