"""What a config.json says of a decoder of the Llama, Qwen2 or Qwen3 family; no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.spec.errors import UsageError

FAMILIES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""model_type → the class transformers loads it with."""

SCALINGS = ("default", "linear", "dynamic", "yarn", "llama3")
"""Kinds of rope scaling the decoder computes."""


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding; defaults and key names are transformers'."""

    theta: float
    kind: str = "default"
    factor: float = 1.0
    original: int | None = None
    """Positions the scaling starts from (original_max_position_embeddings)."""
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True


COUNTS = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
COUNTS += ("num_key_value_heads", "head_dim", "max_position_embeddings")
"""Keys that count something."""

OPTIONAL = ("low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "attention_factor")
OPTIONAL += ("mscale", "mscale_all_dim", "truncate")
"""Keys of a rope scaling that have defaults."""


@dataclass(frozen=True)
class DecoderConfig:
    """Everything that decides the shapes and the arithmetic of a decoder."""

    family: str
    vocab: int
    width: int
    inner: int
    """Width of the feed-forward layer."""
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    eps: float
    tied: bool
    rope: Rope
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    init_std: float = 0.02

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a checkpoint by its Hugging Face name, in a fixed order; a tied head is not listed."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocab, self.width)}

        def linear(name: str, out: int, width: int, bias: bool) -> None:
            found[f"{name}.weight"] = (out, width)
            if bias:
                found[f"{name}.bias"] = (out,)

        for index in range(self.layers):
            layer = f"model.layers.{index}."
            found[layer + "input_layernorm.weight"] = (self.width,)
            linear(layer + "self_attn.q_proj", queries, self.width, self.qkv_bias)
            linear(layer + "self_attn.k_proj", keys, self.width, self.qkv_bias)
            linear(layer + "self_attn.v_proj", keys, self.width, self.qkv_bias)
            linear(layer + "self_attn.o_proj", self.width, queries, self.out_bias)
            if self.qk_norm:
                found[layer + "self_attn.q_norm.weight"] = (self.head_dim,)
                found[layer + "self_attn.k_norm.weight"] = (self.head_dim,)
            found[layer + "post_attention_layernorm.weight"] = (self.width,)
            linear(layer + "mlp.gate_proj", self.inner, self.width, self.mlp_bias)
            linear(layer + "mlp.up_proj", self.inner, self.width, self.mlp_bias)
            linear(layer + "mlp.down_proj", self.width, self.inner, self.mlp_bias)
        found["model.norm.weight"] = (self.width,)
        if not self.tied:
            found["lm_head.weight"] = (self.vocab, self.width)
        return found


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder; UsageError where there is none or it is not a JSON object."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            "it has no config.json: it is no model folder.", where=str(folder), remedy="Give a saved model."
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"config.json cannot be read: {error}.", where=str(folder)) from None
    if not isinstance(config, dict):
        raise UsageError("config.json is not a JSON object.", where=str(folder))
    return config


def parse(config: Mapping[str, Any], *, where: str = "config.json") -> DecoderConfig:
    """The decoder a config describes, with transformers' defaults; UsageError for what the decoder cannot compute."""
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise UsageError(
            f"model_type {family!r} is not one of the supported families: {', '.join(FAMILIES)}.", where=where
        )
    _refuse(config, where)
    try:
        return _decoder(config, family, where)
    except KeyError as missing:
        raise UsageError(f"the key {missing} is missing.", where=where) from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"a value is not what it must be: {error}.", where=where) from None


def _refuse(config: Mapping[str, Any], where: str) -> None:
    for key in COUNTS:
        value = config.get(key)
        if value is not None and (type(value) is not int or value < 1):
            raise UsageError(f"{key} is {value!r} and must be a whole number above zero.", where=where)
    if config.get("quantization_config"):
        raise UsageError("quantised weights are not read.", where=where, remedy="Give the 16 or 32 bit weights.")
    if (act := config.get("hidden_act", "silu")) != "silu":
        raise UsageError(f"hidden_act {act!r} is not supported; the decoder knows silu.", where=where)
    sliding = config.get("use_sliding_window", False) and config.get("sliding_window") is not None
    kinds = config.get("layer_types") or []
    if any(kind != "full_attention" for kind in kinds) or (sliding and not kinds):
        raise UsageError(
            "sliding-window attention is switched on; the decoder attends to the whole past.",
            where=where,
            remedy="Set use_sliding_window to false where the window is longer than what is trained.",
        )


def _decoder(config: Mapping[str, Any], family: str, where: str) -> DecoderConfig:
    heads, width = config["num_attention_heads"], config["hidden_size"]
    default_dim = 128 if family == "qwen3" else width // heads
    attention_bias = bool(config.get("attention_bias", False))
    positions = config.get("max_position_embeddings", 2048 if family == "llama" else 32768)
    kv_heads = config.get("num_key_value_heads") or heads
    if heads % kv_heads:
        raise UsageError(f"{heads} attention heads cannot share {kv_heads} key-value heads.", where=where)
    return DecoderConfig(
        family=family,
        vocab=config["vocab_size"],
        width=width,
        inner=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=kv_heads,
        head_dim=config.get("head_dim") or default_dim,
        max_positions=positions,
        eps=config.get("rms_norm_eps", 1e-6),
        tied=bool(config.get("tie_word_embeddings", False)),
        rope=_rope(config, positions, where),
        qkv_bias=family == "qwen2" or attention_bias,
        out_bias=family != "qwen2" and attention_bias,
        mlp_bias=family == "llama" and bool(config.get("mlp_bias", False)),
        qk_norm=family == "qwen3",
        init_std=config.get("initializer_range", 0.02),
    )


def _rope(config: Mapping[str, Any], positions: int, where: str) -> Rope:
    """Reads `rope_parameters` (transformers 5) and `rope_theta` with `rope_scaling` (before it)."""
    given: dict[str, Any] = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    kind = given.get("rope_type", given.get("type", "default"))
    theta = given.get("rope_theta", config.get("rope_theta", 10_000.0))
    if kind not in SCALINGS:
        raise UsageError(
            f"rope scaling {kind!r} is not supported.", where=where, remedy=f"Known: {', '.join(SCALINGS)}."
        )
    if given.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) not in (None, 1, 1.0):
        raise UsageError("a rotary embedding of part of the head is not supported.", where=where)
    if kind == "default":
        return Rope(theta=float(theta))
    original = config.get("original_max_position_embeddings") or given.get("original_max_position_embeddings")
    factor = given.get("factor")
    if factor is None:
        if kind != "yarn":
            raise UsageError(f"rope scaling {kind!r} needs the key factor.", where=where)
        factor = positions / (original or positions)
    optional = {key: given[key] for key in OPTIONAL if given.get(key) is not None}
    return Rope(theta=float(theta), kind=kind, factor=float(factor), original=original or positions, **optional)
