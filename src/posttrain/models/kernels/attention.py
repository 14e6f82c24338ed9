"""Grouped-query attention from the joint projection: norm of queries and keys, rotation, softmax, weighted values.

Two forms of one function. `short` keeps the probabilities and has a hand-written backward: on a CPU it is several
times faster than torch's fused attention for windows up to some hundred tokens. `long` is torch's fused attention.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from posttrain.models.kernels.elementwise import inverse_rms, norm_backward, wide
from posttrain.models.kernels.rope import rotate

SHORT = 512
"""Longest window, in tokens, for which a CPU keeps the probabilities."""


class Heads(NamedTuple):
    """The layout of a joint projection: query heads, then key heads, then value heads."""

    queries: int
    keys: int
    dim: int
    eps: float

    @property
    def group(self) -> int:
        """Query heads that share a key head."""
        return self.queries // self.keys


def visible(
    length: int,
    segments: Int[Tensor, "B T"] | None,
    device: torch.device,
    *,
    prefix: Int[Tensor, " B"] | None = None,
) -> Bool[Tensor, "*B T T"]:
    """Who sees whom: a token sees itself, what precedes it in its own segment, and the first `prefix` of its row."""
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    if segments is None:
        return causal
    own = segments.unsqueeze(-1) == segments.unsqueeze(-2)
    if prefix is not None:
        own |= (torch.arange(length, device=device) < prefix.unsqueeze(-1)).unsqueeze(-2)
    return causal & own


def additive(seen: Bool[Tensor, "*B T S"], dtype: torch.dtype) -> Float[Tensor, "*B T S"]:
    """0 where visible, minus infinity elsewhere: what is added to the scores."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))


def turned(
    z: Float[Tensor, "*B h d"], scale: Float[Tensor, "h d"] | None, turn: Complex[Tensor, "*C half"], eps: float
) -> tuple[Float[Tensor, "*B h d"], Tensor | None]:
    """Queries and keys ready for their product, in float32, with the inverse norms where heads are normalised."""
    z32, inverse = wide(z), None
    if scale is not None:
        inverse = inverse_rms(z32, eps)
        z32 = (z32 * inverse).mul_(scale)
    return rotate(z32, turn), inverse


class Newest(NamedTuple):
    """One new token per row: queries ready for products, key and value ready to be stored."""

    q: Float[Tensor, "nK g d"]
    k: Float[Tensor, "n K d"]
    v: Float[Tensor, "n K d"]


def newest(qkv: Float[Tensor, "n w"], scale: Tensor | None, turn: Tensor, heads: Heads) -> Newest:
    """`parts` for rows of one token each, in fewer steps; `turn` is (n, 1, pairs)."""
    count, (n_query, n_key, dim, eps) = len(qkv), heads
    z = qkv.view(count, n_query + 2 * n_key, dim)
    qk = turned(z[:, : n_query + n_key], scale, turn, eps)[0].to(qkv.dtype)
    return Newest(qk[:, :n_query].reshape(count * n_key, -1, dim), qk[:, n_query:], z[:, n_query + n_key :])


class Parts(NamedTuple):
    """Rotated queries and keys, and values, each contiguous and in the compute format."""

    q: Float[Tensor, "B K Tg d"]
    """Rows in order of (token, query head of the group)."""
    k: Float[Tensor, "B K T d"]
    v: Float[Tensor, "B K T d"]
    inverse: Tensor | None
    """Inverse norms of queries and keys, kept for the backward pass."""


def parts(qkv: Float[Tensor, "B T w"], scale: Tensor | None, turn: Tensor, heads: Heads) -> Parts:
    """Cut a joint projection; `turn` broadcasts over (B, T, heads, pairs)."""
    batch, length, _ = qkv.shape
    n_query, n_key, dim, eps = heads
    z = qkv.view(batch, length, n_query + 2 * n_key, dim)
    qk, inverse = turned(z[:, :, : n_query + n_key], scale, turn, eps)
    q = qkv.new_empty(batch, n_key, length, heads.group, dim)
    q.permute(0, 2, 1, 3, 4).copy_(qk[:, :, :n_query].unflatten(2, (n_key, heads.group)))
    k = qkv.new_empty(batch, n_key, length, dim)
    k.transpose(1, 2).copy_(qk[:, :, n_query:])
    v = z[:, :, n_query + n_key :].transpose(1, 2).contiguous()
    return Parts(q.flatten(2, 3), k, v, inverse)


class _Short(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, scale: Tensor | None, turn: Tensor, mask: Tensor, heads: Heads) -> Tensor:
        batch, length, _ = qkv.shape
        cut = parts(qkv, scale, turn, heads)
        q, k, v = cut.q.flatten(0, 1), cut.k.flatten(0, 1), cut.v.flatten(0, 1)
        scores = torch.bmm(q, k.mT)
        scores.view(batch, heads.keys, length, heads.group, length).add_(mask)
        p = torch.softmax(scores, -1)
        ctx.save_for_backward(qkv, scale, turn, cut.inverse, q, k, v, p)
        ctx.heads = heads
        out = torch.bmm(p, v).view(batch, heads.keys, length, heads.group, heads.dim)
        return out.transpose(1, 2).reshape(batch, length, heads.queries * heads.dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        qkv, scale, turn, inverse, q, k, v, p = ctx.saved_tensors
        heads: Heads = ctx.heads
        batch, length, _ = qkv.shape
        n_query, n_key, dim, _ = heads
        go = grad.view(batch, length, n_key, heads.group * dim).transpose(1, 2).reshape(q.shape)
        dv = torch.bmm(p.mT, go)
        ds = torch.ops.aten._softmax_backward_data(torch.bmm(go, v.mT), p, -1, p.dtype)
        dq, dk = torch.bmm(ds, k), torch.bmm(ds.mT, q)
        d = wide(qkv.new_empty(0)).new_empty(batch, length, n_query + n_key, dim)
        d[:, :, :n_query].unflatten(2, (n_key, heads.group)).copy_(
            dq.view(batch, n_key, length, heads.group, dim).transpose(1, 2)
        )
        d[:, :, n_query:].copy_(dk.view(batch, n_key, length, dim).transpose(1, 2))
        d = rotate(d, turn.conj())
        result = torch.empty_like(qkv)
        whole = result.view(batch, length, n_query + 2 * n_key, dim)
        dscale = None
        if scale is not None:
            unit = wide(qkv.view(whole.shape)[:, :, : n_query + n_key]) * inverse
            dscale = (d * unit).sum((0, 1))
            d = norm_backward(d.mul_(scale), unit, inverse)
        whole[:, :, : n_query + n_key].copy_(d)
        whole[:, :, n_query + n_key :].copy_(dv.view(batch, n_key, length, dim).transpose(1, 2))
        return result, dscale, None, None, None


def short(
    qkv: Float[Tensor, "B T w"],
    scale: Float[Tensor, "h d"] | None,
    turn: Complex[Tensor, "*B T half"],
    mask: Float[Tensor, "*B T T"],
    heads: Heads,
) -> Float[Tensor, "B T v"]:
    """Attention that keeps its probabilities; `scale` is the norm's weight per query and key head, `mask` additive."""
    spread = mask.unsqueeze(-2) if mask.ndim == 2 else mask[:, None, :, None, :]
    return _Short.apply(qkv, scale, turn.unsqueeze(-2), spread, heads)  # pyright: ignore[reportReturnType]


def long(
    qkv: Float[Tensor, "B T w"],
    scale: Float[Tensor, "h d"] | None,
    turn: Complex[Tensor, "*B T half"],
    seen: Bool[Tensor, "B T T"] | None,
    heads: Heads,
) -> Float[Tensor, "B T v"]:
    """Attention by torch's fused kernel; `seen` is None for plain causal attention."""
    n_query, n_key, dim, eps = heads
    z = qkv.unflatten(-1, (n_query + 2 * n_key, dim))
    qk = wide(z[:, :, : n_query + n_key])
    if scale is not None:
        qk = qk * torch.rsqrt(qk.square().mean(-1, keepdim=True) + eps) * scale
    qk = rotate(qk, turn.unsqueeze(-2)).to(qkv.dtype).transpose(1, 2)
    return fused(qk[:, :n_query], qk[:, n_query:], z[:, :, n_query + n_key :].transpose(1, 2), seen)


def fused(
    q: Float[Tensor, "B h T d"],
    k: Float[Tensor, "B K T d"],
    v: Float[Tensor, "B K T d"],
    seen: Bool[Tensor, "B T T"] | None = None,
) -> Float[Tensor, "B T v"]:
    """torch's attention over whole sequences, for queries and keys whose product is already scaled."""
    out = torch.nn.functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=None if seen is None else seen.unsqueeze(1),
        is_causal=seen is None,
        scale=1.0,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return out.transpose(1, 2).flatten(-2)
