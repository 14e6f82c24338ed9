"""Root-mean-square norm and the gated feed-forward, with hand-written backward passes.

Sums and reciprocal roots are taken in float32 whatever the number format of the input (float64 stays, for tests).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def wide(x: Tensor) -> Tensor:
    """The tensor in the format sums are taken in: float32, or float64 as it is."""
    return x if x.dtype == torch.float64 else x.float()


def inverse_rms(x: Float[Tensor, "*B d"], eps: float) -> Float[Tensor, "*B 1"]:
    """1 / √(mean of squares + eps) over the last axis of a float32 tensor."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().mul_(1 / x.shape[-1]).add_(eps).rsqrt_()


def norm_backward(grad: Tensor, unit: Tensor, inverse: Tensor) -> Tensor:
    """Gradient of x ↦ x · inverse_rms(x): inverse · (g - u · mean(g·u)), for u = x · inverse, in float32."""
    along = (grad * unit).mean(-1, keepdim=True)
    return torch.addcmul(grad, unit, along, value=-1).mul_(inverse)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        x32 = wide(x)
        inverse = inverse_rms(x32, eps)
        unit = (x32 * inverse).to(x.dtype)
        ctx.save_for_backward(unit, inverse)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        unit, inverse = ctx.saved_tensors
        return norm_backward(wide(grad), wide(unit), inverse).to(unit.dtype), None


def normalise(x: Float[Tensor, "*B d"], eps: float) -> Float[Tensor, "*B d"]:
    """x / √(mean(x²) + eps) over the last axis; the learnt scale belongs to the matrix that follows."""
    if torch.is_grad_enabled():
        return _Normalise.apply(x, eps)  # pyright: ignore[reportReturnType]
    x32 = wide(x)
    return (x32 * inverse_rms(x32, eps)).to(x.dtype)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        gate, up = both.chunk(2, -1)
        active = torch.nn.functional.silu(gate)
        ctx.save_for_backward(both, active)
        return active * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        both, active = ctx.saved_tensors
        gate, up = both.chunk(2, -1)
        result = torch.empty_like(both)
        to_gate, to_up = result.chunk(2, -1)
        torch.mul(grad, active, out=to_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=to_gate)
        return result


def gated(both: Float[Tensor, "*B 2f"]) -> Float[Tensor, "*B f"]:
    """silu(first half) · second half of the last axis (SwiGLU, arXiv 2002.05202)."""
    if torch.is_grad_enabled():
        return _Gated.apply(both)  # pyright: ignore[reportReturnType]
    gate, up = both.chunk(2, -1)
    return torch.nn.functional.silu(gate).mul_(up)
