"""Weights on disk: safetensors, one file or shards with an index, streamed tensor by tensor. Never pickle."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from posttrain.spec.errors import Mismatch, UsageError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The names transformers gives to a whole file and to the index of shards."""

SHARD_BYTES = 4 * 2**30
"""Weights above this are cut into shards of at most this size."""


def places(folder: Path) -> dict[str, str]:
    """Tensor name → file name of a model folder's weights; UsageError where there are none, Mismatch where damaged."""
    index = folder / INDEX
    if index.is_file():
        try:
            found = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return {str(name): str(file) for name, file in found.items()}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Mismatch(f"is not an index of shards: {error!r}.", where=str(index)) from None
    if not (folder / SINGLE).is_file():
        raise UsageError(f"holds no weights ({SINGLE} or {INDEX}).", where=str(folder))
    with Shards(folder) as shards:
        return dict.fromkeys(shards.open(SINGLE).keys(), SINGLE)


class Shards:
    """Open weight files of one folder; each is opened once and mapped, not read."""

    def __init__(self, folder: Path) -> None:
        """Nothing is opened yet."""
        self.folder, self._stack, self._open = folder, ExitStack(), dict[str, Any]()

    def __enter__(self) -> "Shards":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every file that was opened."""
        self._open.clear()
        self._stack.close()

    def open(self, file: str) -> Any:
        """The opened file; Mismatch where it is absent or is not a whole safetensors file."""
        path = self.folder / file
        if path.parent != self.folder:
            raise Mismatch(f"the index names a file outside the folder: {file}.", where=str(self.folder))
        if file not in self._open:
            try:
                self._open[file] = self._stack.enter_context(safe_open(path, framework="pt"))
            except FileNotFoundError:
                raise Mismatch("the index names this file and it is not there.", where=str(path)) from None
            except (OSError, SafetensorError) as error:
                raise Mismatch(f"is not a whole safetensors file: {error}.", where=str(path)) from None
        return self._open[file]

    def tensor(self, file: str, name: str) -> Tensor:
        """One tensor; Mismatch where its file does not hold it."""
        try:
            return self.open(file).get_tensor(name)
        except SafetensorError as error:
            raise Mismatch(f"the tensor {name} cannot be read: {error}.", where=str(self.folder / file)) from None


def stream(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a model folder in order of name; a tensor lives as long as its reader holds it."""
    where = places(folder)
    with Shards(folder) as shards:
        for name in sorted(where):
            yield name, shards.tensor(where[name], name)


def write(folder: Path, tensors: Mapping[str, Tensor], *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors as one file, or as shards with an index where they are larger than one shard."""
    groups = _shards({name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}, shard_bytes)
    where: dict[str, str] = {}
    for number, names in enumerate(groups, 1):
        file = SINGLE if len(groups) == 1 else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        part = {name: tensors[name].to("cpu", memory_format=torch.contiguous_format).contiguous() for name in names}
        save_file(part, folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(names, file))
    if len(groups) > 1:
        write_index(folder, where, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))


def write_index(folder: Path, where: Mapping[str, str], total_bytes: int) -> None:
    """Write the index that names the shard of every tensor."""
    index = {"metadata": {"total_size": total_bytes}, "weight_map": dict(sorted(where.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """Names in order of the alphabet, cut where the next tensor would pass the size of a shard."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name in sorted(sizes):
        if groups[-1] and filled + sizes[name] > most:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += sizes[name]
    return groups
