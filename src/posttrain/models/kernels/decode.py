"""Generation by one decoder: prompts in one pass, then one token per slot and step over a preallocated cache.

A slot is a row of the cache: its tokens lie in columns 0, 1, 2 …, whatever the other slots hold. Prompt keys and
values are computed once per prompt and copied into the slots of its samples.
"""

import weakref
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from posttrain.models.decoder import Decoder, feed_forward
from posttrain.models.kernels import attention
from posttrain.models.kernels.elementwise import normalise, wide
from posttrain.models.kernels.rope import rotations

WIDTHS = 8
"""Prompts are padded to a multiple of this: a CPU compiles its products for each width anew."""

COLUMNS = 32
"""The cache's columns are taken into use in steps of this many tokens."""


MOST_SLOTS = 512
"""Beyond this a step costs in proportion to its slots."""

CPU_CACHE_BYTES = 2**28
"""Keys and values a generation may hold on a CPU; on a GPU it is a quarter of its memory."""


def slots_for(model: Decoder, capacity: int) -> int:
    """How many slots of so many tokens to run side by side: the same on every machine of one kind."""
    c = model.config
    each = 2 * c.layers * c.kv_heads * c.head_dim * capacity * model.compute.itemsize
    cuda = model.device.type == "cuda"
    room = torch.cuda.get_device_properties(model.device).total_memory // 4 if cuda else CPU_CACHE_BYTES
    return max(1, min(MOST_SLOTS, room // each))


class Prefix(NamedTuple):
    """Prompts after one forward pass."""

    keys: list[Float[Tensor, "P K T d"]]
    values: list[Float[Tensor, "P K T d"]]
    logits: Float[Tensor, "P V"]
    """Of the token after each prompt."""


class Room:
    """Memory for keys and values that outlives a generation: fresh pages are dear."""

    def __init__(self) -> None:
        """Empty."""
        self.buffers: list[Tensor] = []

    def take(self, count: int, size: int, like: Tensor) -> list[Tensor]:
        """`count` flat buffers of at least `size` numbers, zero or finite leftovers of an earlier generation."""
        usable = len(self.buffers) >= count and all(
            b.numel() >= size and b.dtype == like.dtype and b.device == like.device for b in self.buffers[:count]
        )
        if not usable:
            self.buffers = []
            self.buffers = [like.new_zeros(size) for _ in range(count)]
        return self.buffers[:count]


_rooms: "weakref.WeakKeyDictionary[Decoder, Room]" = weakref.WeakKeyDictionary()


def forget(model: Decoder) -> None:
    """Drop a model's memory for keys and values."""
    _rooms.pop(model, None)


class Generator:
    """One decoder's weights and cache for one generation."""

    def __init__(self, model: Decoder, slots: int, capacity: int) -> None:
        """Room for `slots` rows of at most `capacity` tokens."""
        c = model.config
        self.model, self.slots, self.capacity, self.columns = model, slots, capacity, 0
        self.layers = model.layer_weights()
        self.heads = attention.Heads(c.heads, c.kv_heads, c.head_dim, c.eps)
        self.turns = rotations(c, torch.arange(capacity, device=model.device))
        self.embedding = model.model.embed_tokens.weight.to(model.compute)
        self.head = model.head_weight.to(model.compute)
        self.scale = model.model.norm.weight.to(model.compute)
        room = _rooms.setdefault(model, Room())
        size = slots * c.kv_heads * capacity * c.head_dim
        self._buffers = room.take(2 * c.layers + 1, size, self.embedding)
        self.cache: list[Tensor] = [self._view(b, 0) for b in self._buffers[:-1]]

    def prefill(self, prompts: list[tuple[int, ...]]) -> Prefix:
        """Run whole prompts, padded on the right, which a causal decoder does not see."""
        lengths = torch.tensor([len(p) for p in prompts], device=self.model.device)
        width = min(self.capacity, -(-max(map(len, prompts)) // WIDTHS) * WIDTHS)
        ids = torch.tensor([[*p, *[0] * (width - len(p))] for p in prompts], device=self.model.device)
        short = ids.device.type == "cpu" and width <= attention.SHORT
        mask = None
        if short:
            mask = attention.additive(attention.visible(width, None, ids.device), self.model.compute).unsqueeze(-2)
        turn = self.turns[:width].unsqueeze(-2)
        x = F.embedding(ids, self.embedding)
        keys, values = [], []
        for w in self.layers:
            cut = attention.parts(
                F.linear(normalise(x, self.heads.eps), w.qkv, w.qkv_bias), w.qk_scale, turn, self.heads
            )
            keys.append(cut.k)
            values.append(cut.v)
            mixed = self._fused(cut) if mask is None else self._mixed(cut, mask)
            x = x + F.linear(mixed, w.out, w.out_bias)
            x = x + feed_forward(x, w, self.heads.eps)
        last = x[torch.arange(len(prompts), device=ids.device), lengths - 1]
        return Prefix(keys, values, self._logits(last))

    def admit(self, slots: Int[Tensor, " m"], prefix: Prefix, rows: Int[Tensor, " m"]) -> None:
        """Copy the prompts `rows` of a prefix into slots."""
        width = prefix.keys[0].shape[2]
        self.reach(width)
        for index, source in enumerate(x for pair in zip(prefix.keys, prefix.values, strict=True) for x in pair):
            self.cache[index][:, :, :width].index_copy_(0, slots, source.index_select(0, rows))

    def move(self, to: Int[Tensor, " m"], source: Int[Tensor, " m"]) -> None:
        """Copy whole slots."""
        for one in self.cache:
            one.index_copy_(0, to, one.index_select(0, source))

    def reach(self, length: int) -> None:
        """Take columns into use, so that slots hold `length` tokens; the columns in use are contiguous for products."""
        if length <= self.columns:
            return
        columns = min(self.capacity, -(-length // COLUMNS) * COLUMNS)
        spare = self._buffers[-1]
        for index, old in enumerate(self.cache):
            self.cache[index] = self._view(spare, columns)
            self.cache[index][:, :, : self.columns] = old
            spare, self._buffers[index] = self._buffers[index], spare
        self._buffers[-1] = spare
        self.columns = columns

    def step(self, ids: Int[Tensor, " n"], positions: Int[Tensor, " n"]) -> Float[Tensor, "n V"]:
        """Feed one token to each of the first n slots, at its position; logits of the next."""
        count, c = len(ids), self.heads
        turn = self.turns.index_select(0, positions).unsqueeze(1)
        seen = torch.arange(self.columns, device=ids.device) <= positions.unsqueeze(1)
        mask = attention.additive(seen, self.model.compute).unsqueeze(1)
        rows = torch.arange(count, device=ids.device) * (c.keys * self.columns) + positions
        if c.keys > 1:
            mask = mask.repeat_interleave(c.keys, 0)
            rows = (rows.unsqueeze(1) + torch.arange(c.keys, device=ids.device) * self.columns).flatten()
        x = F.embedding(ids, self.embedding)
        for w, keys, values in zip(self.layers, self.cache[::2], self.cache[1::2], strict=True):
            new = attention.newest(F.linear(normalise(x, c.eps), w.qkv, w.qkv_bias), w.qk_scale, turn, c)
            keys, values = keys[:count].view(-1, c.dim), values[:count].view(-1, c.dim)
            keys.index_copy_(0, rows, new.k.reshape(-1, c.dim))
            values.index_copy_(0, rows, new.v.reshape(-1, c.dim))
            scores = torch.bmm(new.q, keys.view(len(rows), -1, c.dim).mT).add_(mask)
            mixed = torch.bmm(torch.softmax(scores, -1), values.view(len(rows), -1, c.dim))
            x = x + F.linear(mixed.view(count, -1), w.out, w.out_bias)
            x = x + feed_forward(x, w, c.eps)
        return self._logits(x)

    def _logits(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n V"]:
        return wide(F.linear(normalise(x, self.heads.eps) * self.scale, self.head))

    def _mixed(self, cut: attention.Parts, mask: Tensor) -> Tensor:
        batch, keys, _, dim = cut.q.shape
        q, k, v = cut.q.flatten(0, 1), cut.k.flatten(0, 1), cut.v.flatten(0, 1)
        scores = torch.bmm(q, k.mT)
        length = k.shape[1]
        scores.view(batch, keys, length, -1, length).add_(mask)
        out = torch.bmm(torch.softmax(scores, -1), v).view(batch, keys, length, -1, dim)
        return out.transpose(1, 2).reshape(batch, length, -1)

    def _fused(self, cut: attention.Parts) -> Tensor:
        q = cut.q.unflatten(2, (-1, self.heads.group)).transpose(2, 3).flatten(1, 2)
        return attention.fused(q, cut.k, cut.v)

    def _view(self, buffer: Tensor, columns: int) -> Tensor:
        shape = (self.slots, self.heads.keys, columns, self.heads.dim)
        return buffer[: self.slots * self.heads.keys * columns * self.heads.dim].view(shape)
