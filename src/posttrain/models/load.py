"""The one loader and saver: a model folder becomes weights and a tokenizer, and goes back unchanged."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from posttrain.models.config import FAMILIES, DecoderConfig, parse, read_config
from posttrain.models.decoder import Decoder
from posttrain.models.presets import Preset, preset
from posttrain.models.tokens import read_tokenizer, write_tokenizer
from posttrain.models.weights import FLOATS, INDEX, SINGLE, is_finite, stream, write
from posttrain.spec.errors import Mismatch, MissingNeed, UsageError

__all__ = [
    "FORMATS",
    "Loaded",
    "Preset",
    "build",
    "compute_format",
    "described",
    "device_name",
    "load",
    "precision_of",
    "preset",
    "save",
    "sound_tokenizer",
]

FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Number formats by the names that knobs use."""

PROMPTING, GENERATION = "posttrain.json", "generation_config.json"
"""Files beside config.json: how the model is asked; when it stops."""


SENTENCE = "The answer is 42: \\boxed{x + 7}"
"""Comes back unchanged from a sound tokenizer."""

MEND = "Restore the folder from a copy, or make the model again: nothing is built on a damaged one."


@dataclass(frozen=True)
class Loaded:
    """A model in memory with all that its folder holds."""

    model: Decoder
    tokenizer: Any
    config: dict[str, Any]
    prompting: dict[str, Any]
    path: Path | None = None
    """The folder it was read from; None for one that was just made."""
    generation: dict[str, Any] = field(default_factory=dict)
    """generation_config.json."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer: the end tokens of tokenizer, config and generation config."""
        found = {self.tokenizer.eos_token_id}
        for source in (self.config, self.generation):
            ids = source.get("eos_token_id")
            found.update(ids if isinstance(ids, list) else [ids])
        return frozenset(one for one in found if one is not None)

    @property
    def precision(self) -> str:
        """The format the weights really have."""
        return precision_of(self.model)


def load(path: Path, *, device: str = "cpu", precision: str = "fp32", compute: str = "fp32") -> Loaded:
    """Read a model folder. `precision` is the format of the weights, `compute` that of matrix products.

    `device` and `compute` take `auto`, as resources do. Every folder is checked while it is read: Mismatch for one that
    is damaged, in the words of `models.sound`. MissingNeed where the device is absent.
    """
    path = Path(path)
    device = device_name(device)
    compute = compute_format(compute, device)
    config, decoder = described(path)
    tokenizer = sound_tokenizer(path)
    model = _empty(decoder, compute)
    expected = decoder.shapes()
    state: dict[str, Tensor] = {}
    for name, tensor in _tensors(path):
        if name in expected:
            _fits(path, name, tensor, expected[name])
            state[name] = tensor.to(device, FORMATS[_known(precision)], copy=True)
        elif not _derived(name, decoder):
            raise Mismatch(f"the tensor {name} belongs to no part of the model.", where=str(path))
    if missing := sorted(expected.keys() - state.keys()):
        raise Mismatch(f"the tensor {missing[0]} is missing ({len(missing)} in all).", where=str(path))
    model.load_state_dict(state, assign=True)
    generation = _json(path / GENERATION)
    return Loaded(model, tokenizer, config, _json(path / PROMPTING), path, generation)


def described(folder: Path) -> tuple[dict[str, Any], DecoderConfig]:
    """The config of a model folder and what it describes; Mismatch for an adapter alone, or one that is not usable."""
    if (folder / "adapter_config.json").is_file() and not _is_whole(folder):
        raise Mismatch("it holds an adapter without the base the adapter belongs to", where=str(folder), remedy=MEND)
    try:
        config = read_config(folder)
        return config, parse(config)
    except UsageError as error:
        raise Mismatch(f"the config is not usable: {error.what}", where=str(folder), remedy=MEND) from None


def sound_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder; Mismatch for one that cannot be read or does not give text back."""
    try:
        tokenizer = read_tokenizer(folder)
    except UsageError as error:
        said = f"the tokenizer cannot be used: it {error.what}"
        raise Mismatch(said, where=str(folder), remedy=MEND) from None
    ids = tokenizer(SENTENCE, add_special_tokens=False)["input_ids"]
    back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if back.strip() != SENTENCE:
        said = f"the tokenizer does not give text back: {SENTENCE!r} became {back!r}"
        raise Mismatch(said, where=str(folder), remedy=MEND)
    return tokenizer


def build(config: Mapping[str, Any], tokenizer: Any, prompting: Mapping[str, Any], seed: int) -> Loaded:
    """A model with random weights: normal with the config's initializer_range, norms 1, biases 0.

    The tokenizer decides vocabulary and end token. Equal seeds give equal bits whatever else was drawn before.
    """
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    architecture = FAMILIES.get(str(config.get("model_type")), "")
    full = {**ends, **config, "vocab_size": len(tokenizer), "architectures": [architecture], "dtype": "float32"}
    decoder = parse(full, where="the preset's config")
    model = _empty(decoder, "fp32")
    draw = torch.Generator().manual_seed(seed % 2**63)
    state: dict[str, Tensor] = {}
    for name, shape in decoder.shapes().items():
        if len(shape) == 2:
            state[name] = torch.empty(shape).normal_(0.0, decoder.init_std, generator=draw)
        else:
            state[name] = torch.zeros(shape) if name.endswith(".bias") else torch.ones(shape)
    model.load_state_dict(state, assign=True)
    return Loaded(model, tokenizer, full, dict(prompting), None, dict(ends))


def save(loaded: Loaded, folder: Path) -> None:
    """Write a whole model folder: stock transformers loads it, equal models give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(loaded, folder)
    config = {key: value for key, value in loaded.config.items() if key not in ("torch_dtype", "transformers_version")}
    config["dtype"] = str(next(loaded.model.parameters()).dtype).removeprefix("torch.")
    config.setdefault("architectures", [FAMILIES[config["model_type"]]])
    _write_json(folder / "config.json", config)
    _write_json(folder / GENERATION, loaded.generation)
    _write_json(folder / PROMPTING, loaded.prompting)
    write_tokenizer(loaded.tokenizer, folder)


def write_weights(loaded: Loaded, folder: Path) -> None:
    """Write the weights alone, in the format they have."""
    write(folder, {name: tensor.detach() for name, tensor in loaded.model.state_dict().items()})


def precision_of(model: nn.Module) -> str:
    """The format of a model's weights, read from them; `mixed` where they differ."""
    names = {dtype: name for name, dtype in FORMATS.items()}
    found = {parameter.dtype for parameter in model.parameters()}
    return names.get(found.pop(), "other") if len(found) == 1 else "mixed"


def device_name(device: str) -> str:
    """What the resource `device` means here: `auto` is CUDA where there is one, else the processor."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = device.split(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(kind, False):
        raise MissingNeed(f"the device {device!r} is not on this machine.", remedy="`auto` takes what is there.")
    return device


def compute_format(compute: str, device: str) -> str:
    """What the resource `compute` means on a device: `auto` is bf16 where products in it are fast, fp32 elsewhere."""
    if compute != "auto":
        return _known(compute)
    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if fast and torch.device(device).type == "cpu" else "fp32"


def _empty(decoder: DecoderConfig, compute: str) -> Decoder:
    with torch.device("meta"):
        return Decoder(decoder, compute=FORMATS[_known(compute)])


def _known(name: str) -> str:
    if name not in FORMATS:
        raise UsageError(f"the number format {name!r} is not offered here.", remedy=f"Known: {', '.join(FORMATS)}.")
    return name


def _is_whole(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in (SINGLE, INDEX))


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    try:
        yield from stream(folder)
    except (UsageError, Mismatch) as error:
        where = error.where or str(folder)
        raise Mismatch(f"the weights cannot be read: {error.what}", where=where, remedy=MEND) from None


def _fits(path: Path, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise Mismatch(f"{name} has the shape {list(tensor.shape)}, config.json says {list(shape)}.", where=str(path))
    if tensor.dtype not in FLOATS.values():
        raise Mismatch(f"{name} is {tensor.dtype}, and weights are floating-point numbers.", where=str(path))
    if not is_finite(tensor):
        raise Mismatch(f"{name} holds numbers that are not finite.", where=str(path), remedy=MEND)


def _derived(name: str, decoder: DecoderConfig) -> bool:
    """Tensors some checkpoints hold and nothing reads: rotary buffers, the copy of a tied head."""
    return name.endswith("rotary_emb.inv_freq") or (decoder.tied and name == "lm_head.weight")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise Mismatch(f"is not a JSON object: {error}.", where=str(path)) from None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
