"""How large a model is, from its config alone: parameters, bytes of weights, training state and cache; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from posttrain.models.config import DecoderConfig, parse

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
"""Bytes of one number by format."""


@dataclass(frozen=True)
class Size:
    """Counts of one decoder."""

    config: DecoderConfig
    parameters: int
    """Numbers in the checkpoint; a tied head counts once."""
    multiplied: int
    """Numbers that every token is multiplied with: all matrices, the head too, the embedding as a table not."""

    def weight_bytes(self, precision: str = "fp32") -> int:
        """Bytes of the weights."""
        return self.parameters * BYTES[precision]

    def cache_bytes(self, tokens: int, compute: str = "fp32") -> int:
        """Bytes of keys and values of so many tokens."""
        c = self.config
        return 2 * c.layers * c.kv_heads * c.head_dim * tokens * BYTES[compute]

    def training_bytes(self, batch_tokens: int, *, window: int, compute: str = "fp32") -> int:
        """Bytes of a training step: weights, gradients and Adam's two moments in fp32, and what backward keeps.

        Kept per token and layer: input, two normalised copies, joint projection, queries, keys, values, attention
        output, three feed-forward widths and the probabilities of a window; and two copies of the logits in fp32.
        """
        c = self.config
        projected = (c.heads + 2 * c.kv_heads) * c.head_dim
        kept = 4 * c.width + 2 * projected + c.heads * c.head_dim + 4 * c.inner + c.heads * window
        activations = batch_tokens * (c.layers * kept * BYTES[compute] + 2 * c.vocab * 4)
        return 16 * self.parameters + activations

    def training_flops(self, tokens: int, *, window: int) -> int:
        """Floating-point operations to train on so many tokens: 6 per weight, and attention over half a window."""
        c = self.config
        return tokens * (6 * self.multiplied + 6 * c.layers * c.heads * c.head_dim * window)


def size_of(config: Mapping[str, Any]) -> Size:
    """Sizes from a config.json; UsageError where it is not a supported model."""
    decoder = parse(config)
    shapes = decoder.shapes()
    total = sum(prod(shape) for shape in shapes.values())
    matrices = sum(prod(shape) for name, shape in shapes.items() if len(shape) == 2 and "embed_tokens" not in name)
    return Size(decoder, total, matrices + (decoder.vocab * decoder.width if decoder.tied else 0))
