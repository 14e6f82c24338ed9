"""The one decoder: Llama, Qwen2 and Qwen3, with Hugging Face tensor names, for training and for sampling.

Parameters keep their own number format (normally float32); every forward pass takes the matrices in `compute` and
gradients arrive in the parameters' format. Two rewritings leave the function as it is and save passes over memory: the
scale of a norm is multiplied into the matrix that follows it, and rows of queries and keys are put so that the
pairs a rotation turns lie side by side.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from posttrain.models.config import DecoderConfig
from posttrain.models.kernels import attention
from posttrain.models.kernels.elementwise import gated, normalise, wide
from posttrain.models.kernels.rope import paired, rotations


class LayerWeights(NamedTuple):
    """One layer's matrices as the arithmetic uses them, in the compute format."""

    qkv: Float[Tensor, "w d"]
    qkv_bias: Tensor | None
    qk_scale: Float[Tensor, "h hd"] | None
    out: Float[Tensor, "d v"]
    out_bias: Tensor | None
    gate_up: Float[Tensor, "2f d"]
    gate_up_bias: Tensor | None
    down: Float[Tensor, "d f"]
    down_bias: Tensor | None


class View(NamedTuple):
    """What every layer of one forward pass shares: rotations and who sees whom."""

    turn: Tensor
    mask: Tensor | None
    """Additive for the short form, boolean or None for the long one."""
    short: bool


class Scale(nn.Module):
    """The learnt scale of a norm."""

    def __init__(self, width: int) -> None:
        """Ones."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class Attention(nn.Module):
    """The four projections, and the norms of queries and keys where the family has them."""

    def __init__(self, c: DecoderConfig) -> None:
        """Projections of the widths the config gives."""
        super().__init__()
        queries, keys = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.q_proj = nn.Linear(c.width, queries, bias=c.qkv_bias)
        self.k_proj = nn.Linear(c.width, keys, bias=c.qkv_bias)
        self.v_proj = nn.Linear(c.width, keys, bias=c.qkv_bias)
        self.o_proj = nn.Linear(queries, c.width, bias=c.out_bias)
        self.q_norm = Scale(c.head_dim) if c.qk_norm else None
        self.k_norm = Scale(c.head_dim) if c.qk_norm else None


class FeedForward(nn.Module):
    """The gated feed-forward's three projections."""

    def __init__(self, c: DecoderConfig) -> None:
        """Projections of the widths the config gives."""
        super().__init__()
        self.gate_proj = nn.Linear(c.width, c.inner, bias=c.mlp_bias)
        self.up_proj = nn.Linear(c.width, c.inner, bias=c.mlp_bias)
        self.down_proj = nn.Linear(c.inner, c.width, bias=c.mlp_bias)


class Layer(nn.Module):
    """Attention and feed-forward, each added to what it reads."""

    def __init__(self, c: DecoderConfig) -> None:
        """One layer of the config."""
        super().__init__()
        self.config = c
        self.heads = attention.Heads(c.heads, c.kv_heads, c.head_dim, c.eps)
        self.input_layernorm = Scale(c.width)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = Scale(c.width)
        self.mlp = FeedForward(c)

    def weights(self, dtype: torch.dtype) -> LayerWeights:
        """The matrices of this layer for one forward pass (or, taken once, for a whole generation)."""
        a, m, c = self.self_attn, self.mlp, self.config
        qk = paired(torch.cat([a.q_proj.weight, a.k_proj.weight]), c.head_dim)
        qkv = torch.cat([qk, a.v_proj.weight]) * self.input_layernorm.weight
        gate_up = torch.cat([m.gate_proj.weight, m.up_proj.weight]) * self.post_attention_layernorm.weight
        scale, qkv_bias = None, None
        if a.q_norm is not None and a.k_norm is not None:
            both = [a.q_norm.weight.expand(c.heads, -1), a.k_norm.weight.expand(c.kv_heads, -1)]
            scale = wide(paired(torch.cat(both).flatten(), c.head_dim)).view(-1, c.head_dim)
        if c.qkv_bias:
            qk_bias = paired(torch.cat([a.q_proj.bias, a.k_proj.bias]), c.head_dim)
            qkv_bias = torch.cat([qk_bias, a.v_proj.bias]).to(dtype)
        return LayerWeights(
            qkv.to(dtype),
            qkv_bias,
            scale,
            a.o_proj.weight.to(dtype),
            a.o_proj.bias.to(dtype) if c.out_bias else None,
            gate_up.to(dtype),
            torch.cat([m.gate_proj.bias, m.up_proj.bias]).to(dtype) if c.mlp_bias else None,
            m.down_proj.weight.to(dtype),
            m.down_proj.bias.to(dtype) if c.mlp_bias else None,
        )

    def forward(self, x: Float[Tensor, "B T d"], view: View) -> Float[Tensor, "B T d"]:
        """The layer over whole sequences."""
        w = self.weights(x.dtype)
        qkv = F.linear(normalise(x, self.config.eps), w.qkv, w.qkv_bias)
        if view.short:
            assert view.mask is not None
            mixed = attention.short(qkv, w.qk_scale, view.turn, view.mask, self.heads)
        else:
            mixed = attention.long(qkv, w.qk_scale, view.turn, view.mask, self.heads)
        x = x + F.linear(mixed, w.out, w.out_bias)
        return x + feed_forward(x, w, self.config.eps)


def feed_forward(x: Float[Tensor, "*B d"], w: LayerWeights, eps: float) -> Float[Tensor, "*B d"]:
    """What the feed-forward adds to its input."""
    return F.linear(gated(F.linear(normalise(x, eps), w.gate_up, w.gate_up_bias)), w.down, w.down_bias)


class Body(nn.Module):
    """Embedding, layers and the last norm: the checkpoint's `model.`."""

    def __init__(self, c: DecoderConfig) -> None:
        """All layers of the config."""
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab, c.width)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = Scale(c.width)


class Decoder(nn.Module):
    """Token ids in, logits out."""

    compute: torch.dtype
    """The format of matrix products and of the residual stream."""

    def __init__(self, config: DecoderConfig, *, compute: torch.dtype = torch.float32) -> None:
        """Uninitialised weights in the shapes of the config."""
        super().__init__()
        self.config, self.compute = config, compute
        self.model = Body(config)
        self.lm_head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.model.embed_tokens.weight.device

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        *,
        segments: Int[Tensor, "B T"] | None = None,
        positions: Int[Tensor, "B T"] | None = None,
        prefix: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B T d"]:
        """What the head reads, in the compute format. A token sees the past of its own segment.

        With `prefix` it also sees the first so many tokens of its row: one prompt, several responses.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)
        turn = rotations(self.config, positions)
        short = ids.device.type == "cpu" and ids.shape[1] <= attention.SHORT
        mask = None
        if short or segments is not None:
            mask = attention.visible(ids.shape[1], segments, ids.device, prefix=prefix)
        if short and mask is not None:
            mask = attention.additive(mask, self.compute)
        view = View(turn, mask, short)
        x = self.embed(ids)
        for layer in self.model.layers:
            x = layer(x, view)
        return self.last_norm(x)

    def embed(self, ids: Int[Tensor, "*B"]) -> Float[Tensor, "*B d"]:
        """The rows of the embedding, in the compute format; gradients are summed in the parameters' format."""
        return self.model.embed_tokens(ids).to(self.compute)

    def last_norm(self, x: Float[Tensor, "*B d"]) -> Float[Tensor, "*B d"]:
        """The norm before the head."""
        return normalise(x, self.config.eps) * self.model.norm.weight.to(x.dtype)

    def layer_weights(self) -> list[LayerWeights]:
        """The matrices of every layer in the compute format, for passes that do not train."""
        return [layer.weights(self.compute) for layer in self.model.layers if isinstance(layer, Layer)]

    @property
    def head_weight(self) -> Float[Tensor, "V d"]:
        """The head's matrix: its own, or the embedding where they are tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def head(self, hidden: Float[Tensor, "*B d"]) -> Float[Tensor, "*B V"]:
        """Logits in float32 (the product in the compute format); apply it only where logits are needed."""
        return wide(F.linear(hidden, self.head_weight.to(hidden.dtype)))

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        *,
        segments: Int[Tensor, "B T"] | None = None,
        positions: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Logits of the next token at every place."""
        return self.head(self.hidden(ids, segments=segments, positions=positions))
