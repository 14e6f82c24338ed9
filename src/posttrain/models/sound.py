"""The deep check of a model folder: everything that must hold before anyone builds on it (S-A10).

A damage is a sentence. What depends on something damaged is not checked, so one damage is one sentence.
"""

from pathlib import Path
from typing import Any

import torch

from posttrain.models.config import DecoderConfig, parse, read_config
from posttrain.models.load import load
from posttrain.models.sample import Request, Sampling, generate
from posttrain.models.tokens import read_tokenizer
from posttrain.models.weights import FLOATS, INDEX, SINGLE, Shards, places
from posttrain.spec.errors import Mismatch, Stop, UsageError
from posttrain.spec.gate import Metric

SENTENCE = "The answer is 42: \\boxed{x + 7}"
"""Comes back unchanged from a sound tokenizer."""

TOKENS = 4
"""Drawn by the one generation."""

TOLD = 3
"""Damages that a verdict names; the rest are counted."""


def soundness(folder: Path) -> Metric:
    """The metric `damages`: how many a model folder has, and what they are."""
    found = damages(folder)
    told = "; ".join(found[:TOLD])
    return Metric(len(found), detail=told + (f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""))


def damages(folder: Path) -> list[str]:
    """What is wrong with a model folder, one sentence each; empty for a sound one."""
    folder = Path(folder)
    if not folder.is_dir():
        return ["the folder is not there"]
    if (folder / "adapter_config.json").is_file() and not _whole(folder):
        return ["it holds an adapter without the base the adapter belongs to"]
    try:
        config = parse(read_config(folder))
    except UsageError as error:
        return [f"the config is not usable: {error.what}"]
    found = _weights(folder, config)
    tokenizer, spoilt = _tokenizer(folder, config)
    found += spoilt
    if not found and tokenizer is not None:
        found = _generation(folder, tokenizer)
    return found


def _whole(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in (SINGLE, INDEX))


def _weights(folder: Path, config: DecoderConfig) -> list[str]:
    """Every shard of the index opens; names, shapes and formats are the config's; every number is finite."""
    try:
        where = places(folder)
    except Stop as error:
        return [f"the weights cannot be read: {error.what}"]
    expected = config.shapes()
    if absent := sorted(expected.keys() - where.keys()):
        return [f"the weights lack {absent[0]}" + (f" and {len(absent) - 1} more" if absent[1:] else "")]
    found: list[str] = []
    broken: set[str] = set()
    with Shards(folder) as shards:
        for name in sorted(expected):
            file = where[name]
            if file in broken:
                continue
            try:
                header, tensor = shards.header(file, name), shards.tensor(file, name)
            except Mismatch as error:
                broken.add(file)
                found.append(f"the weight file {file} cannot be read: {error.what}")
                continue
            if header.shape != expected[name] or header.format not in FLOATS:
                found.append(f"{name} is {header.format} {list(header.shape)}, the config says {list(expected[name])}")
            elif not bool(torch.isfinite(tensor).all()):
                found.append(f"{name} holds numbers that are not finite")
    return found


def _tokenizer(folder: Path, config: DecoderConfig) -> tuple[Any, list[str]]:
    """The tokenizer opens, is not empty, gives text back, and knows no id without an embedding."""
    try:
        tokenizer = read_tokenizer(folder)
    except UsageError as error:
        return None, [f"the tokenizer cannot be used: it {error.what}"]
    ids = tokenizer(SENTENCE, add_special_tokens=False)["input_ids"]
    back = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if back.strip() != SENTENCE:
        return tokenizer, [f"the tokenizer does not give text back: {SENTENCE!r} became {back!r}"]
    highest = max(tokenizer.get_vocab().values())
    if highest >= config.vocab:
        return tokenizer, [f"the tokenizer knows id {highest}, the embedding has {config.vocab} rows"]
    return tokenizer, []


def _generation(folder: Path, tokenizer: Any) -> list[str]:
    """The model answers one prompt."""
    try:
        loaded = load(folder)
        ids = tuple(tokenizer(SENTENCE, add_special_tokens=False)["input_ids"])
        sampling = Sampling(max_new_tokens=TOKENS, greedy=True)
        generate(loaded.model, [Request(ids, 0, 1)], sampling, stop_ids=loaded.stop_ids)
    except Stop as error:
        return [f"the model does not generate: {error.what}"]
    return []
