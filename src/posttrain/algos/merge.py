"""Merging the weights of experts that share one base, a tensor at a time.

Sums are taken in float64 and rounded once to float32, so that equal experts give themselves back exactly.
"""

from collections.abc import Sequence
from math import isnan

import torch
from jaxtyping import Float, Float32
from torch import Tensor

TOLERANCE = 1e-9
"""How far shares may be from summing to 1."""


def check_shares(shares: Sequence[float], count: int) -> None:
    """ValueError unless there is a share per expert, none is negative and they sum to 1."""
    if len(shares) != count:
        raise ValueError(f"{len(shares)} shares for {count} experts")
    if any(share < 0 for share in shares):
        raise ValueError(f"a share is negative: {list(shares)}")
    if abs(sum(shares) - 1) > TOLERANCE:
        raise ValueError(f"the shares sum to {sum(shares)}, not to 1")


def equal_shares(count: int) -> tuple[float, ...]:
    """1/N each."""
    return (1 / count,) * count


def linear(experts: Sequence[Float[Tensor, "*S"]], shares: Sequence[float]) -> Float32[Tensor, "*S"]:
    """Σ w_i M_i with w_i ≥ 0, Σ w_i = 1 (F5; VibeThinker-1.5B §3.3 takes w_i = 1/N)."""
    check_shares(shares, len(experts))
    return weighted_sum(experts, shares).float()


def task_arithmetic(
    base: Float[Tensor, "*S"], experts: Sequence[Float[Tensor, "*S"]], *, scale: float
) -> Float32[Tensor, "*S"]:
    """base + scale · Σ (M_i - base) (Ilharco et al., arXiv 2212.04089, §2)."""
    return weighted_sum([base, *experts], task_coefficients(len(experts), scale)).float()


def task_coefficients(count: int, scale: float) -> tuple[float, ...]:
    """Task arithmetic as one weighted sum: the base's coefficient, then that of each of `count` experts."""
    return (1 - scale * count, *(scale,) * count)


def weighted_sum(tensors: Sequence[Float[Tensor, "*S"]], coefficients: Sequence[float]) -> Float[Tensor, "*S"]:
    """Σ c_i T_i in float64."""
    total = tensors[0].double() * coefficients[0]
    for tensor, coefficient in zip(tensors[1:], coefficients[1:], strict=True):
        total.add_(tensor.double(), alpha=coefficient)
    return total


def squared_distance(one: Float[Tensor, "*S"], other: Float[Tensor, "*S"]) -> float:
    """Σ (a - b)² in float64: parts of an L2 distance over many tensors."""
    return float((one.double() - other.double()).square_().sum())


def ulp_gap(value: Float[Tensor, "*S"], exact: Float[Tensor, "*S"]) -> float:
    """Largest |value - exact| in units of the spacing that `value`'s format has at `exact` (given in float64).

    Infinite where either is not a number.
    """
    if not value.numel():
        return 0.0
    info = torch.finfo(value.dtype)
    exponent = torch.frexp(exact.double()).exponent - 1
    spacing = exponent.double().exp2_().mul_(info.eps).clamp_min(info.tiny * info.eps)
    gap = float(((value.double() - exact.double()).abs() / spacing).max())
    return float("inf") if isnan(gap) else gap
