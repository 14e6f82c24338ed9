"""The deep check of a model folder: everything that must hold before anyone builds on it (S-A10).

A damage is a sentence. What depends on something damaged is not checked, so one damage is one sentence.
"""

from pathlib import Path
from typing import Any

from posttrain.models.config import DecoderConfig
from posttrain.models.load import MEND, SENTENCE, described, load, sound_tokenizer
from posttrain.models.sample import Request, Sampling, generate
from posttrain.models.weights import FLOATS, Shards, is_finite, places
from posttrain.spec.errors import Mismatch, Stop
from posttrain.spec.gate import Metric

TOKENS = 4
"""Drawn by the one generation."""

TOLD = 3
"""Damages that a verdict names; the rest are counted."""


def soundness(folder: Path) -> Metric:
    """The metric `damages`: how many a model folder has, and what they are."""
    found = damages(folder)
    told = "; ".join(found[:TOLD])
    return Metric(len(found), detail=told + (f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""))


def refuse_damaged(folder: Path, where: str) -> None:
    """Mismatch with the first damage of a model folder whose files are read without loading the model."""
    found = damages(folder, generating=False)
    if found:
        raise Mismatch(found[0], where=f"{where} ({folder})", remedy=MEND)


def damages(folder: Path, *, generating: bool = True) -> list[str]:
    """What is wrong with a model folder, one sentence each; empty for a sound one.

    Without `generating` the model is not loaded to answer a prompt.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return ["the folder is not there"]
    try:
        _, config = described(folder)
    except Mismatch as error:
        return [error.what]
    found, tokenizer = _weights(folder, config), None
    try:
        tokenizer = sound_tokenizer(folder)
    except Mismatch as error:
        found.append(error.what)
    if tokenizer is not None and (highest := max(tokenizer.get_vocab().values())) >= config.vocab:
        found.append(f"the tokenizer knows id {highest}, the embedding has {config.vocab} rows")
    if generating and not found and tokenizer is not None:
        found = _generation(folder, tokenizer)
    return found


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
            elif not is_finite(tensor):
                found.append(f"{name} holds numbers that are not finite")
    return found


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
