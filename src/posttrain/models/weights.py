"""Weights on disk: safetensors, one file or shards with an index, streamed tensor by tensor; merged the same way.

Never pickle.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from math import prod, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from posttrain.algos.merge import squared_distance, ulp_gap, weighted_sum
from posttrain.models.config import DecoderConfig, parse, read_config
from posttrain.spec.errors import Mismatch, UsageError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The names transformers gives to a whole file and to the index of shards."""

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""safetensors' names of the formats a tensor of weights may have."""

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


class Header(NamedTuple):
    """What a weight file says of a tensor before its numbers."""

    shape: tuple[int, ...]
    format: str
    """A key of FLOATS, or the name of an integer format."""


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

    def header(self, file: str, name: str) -> "Header":
        """Shape and format of one tensor, without its numbers; Mismatch where its file does not hold it."""
        try:
            found = self.open(file).get_slice(name)
        except SafetensorError as error:
            raise Mismatch(f"the tensor {name} cannot be read: {error}.", where=str(self.folder / file)) from None
        return Header(tuple(found.get_shape()), str(found.get_dtype()))


def stream(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a model folder in order of name; a tensor lives as long as its reader holds it."""
    where = places(folder)
    with Shards(folder) as shards:
        for name in sorted(where):
            yield name, shards.tensor(where[name], name)


def is_finite(tensor: Tensor) -> bool:
    """Whether every number of a tensor is finite; one pass without a copy, NaN reaches both ends."""
    return not tensor.numel() or all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))


def write(folder: Path, tensors: Mapping[str, Tensor], *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors as one file, or as shards with an index where they are larger than one shard."""
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}
    write_each(folder, sizes, lambda name: tensors[name], shard_bytes=shard_bytes)


def write_each(
    folder: Path, sizes: Mapping[str, int], tensor: Callable[[str], Tensor], *, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write tensors that are made when their turn comes; `sizes` are their bytes. One shard is in memory at a time."""
    groups = _shards(sizes, shard_bytes)
    where: dict[str, str] = {}
    for number, names in enumerate(groups, 1):
        file = SINGLE if len(groups) == 1 else f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        save_file({name: tensor(name).cpu().contiguous() for name in names}, folder / file, metadata={"format": "pt"})
        where.update(dict.fromkeys(names, file))
    if len(groups) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": dict(sorted(where.items()))}
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


COMPANIONS = (
    "config.json",
    "generation_config.json",
    "posttrain.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
)
"""What a model folder holds beside its weights."""

SPOTS = 8
"""Tensors that `spot_check` reads back."""


@dataclass(frozen=True)
class Merged:
    """What a merge was made of."""

    distances: tuple[float, ...]
    """‖source - merged‖ / ‖merged‖ of each source, L2 over all matrices (norms and biases left out)."""


def merge(
    sources: Mapping[str, Path],
    coefficients: Sequence[float],
    out: Path,
    *,
    like: Path,
    dtype: torch.dtype | None = None,
) -> Merged:
    """Write Σ c_i M_i, tensor by tensor: summed in float64, rounded once to float32 (F5), then to the format asked.

    Config, tokenizer, template and generation config are those of `like`; without `dtype`, so is each tensor's format.
    Tied weights stay tied. Raises Mismatch where the sources, by their names, are not alike.
    """
    alike({**sources, "the model whose config is kept": like})
    out.mkdir(parents=True, exist_ok=True)
    names = parse(read_config(like)).shapes()
    apart, whole = [0.0] * len(sources), 0.0
    with ExitStack() as stack:
        readers = [stack.enter_context(_Reader(folder)) for folder in sources.values()]
        kept = stack.enter_context(_Reader(like))
        kinds = {name: dtype or FLOATS[kept.header(name).format] for name in names}

        def one(name: str) -> Tensor:
            nonlocal whole
            tensors = [reader.tensor(name) for reader in readers]
            merged = weighted_sum(tensors, coefficients).float().to(kinds[name])
            if merged.ndim == 2:
                for index, tensor in enumerate(tensors):
                    apart[index] += squared_distance(tensor, merged)
                whole += float(merged.double().square().sum())
            return merged

        write_each(out, {name: prod(shape) * kinds[name].itemsize for name, shape in names.items()}, one)
    copy_companions(like, out)
    if dtype is not None:
        config = {**read_config(out), "dtype": str(dtype).removeprefix("torch.")}
        config.pop("torch_dtype", None)
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (out / "config.json").write_text(text, encoding="utf-8")
    return Merged(tuple(sqrt(part / whole) if whole else 0.0 for part in apart))


def copy_companions(source: Path, out: Path) -> None:
    """Copy config, tokenizer, templates and generation config of a model folder."""
    for pattern in COMPANIONS:
        for path in sorted(source.glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, out / path.name)


def spot_check(sources: Sequence[Path], coefficients: Sequence[float], out: Path, *, spots: int = SPOTS) -> float:
    """Largest gap, in units in the last place, of written tensors to Σ c_i M_i read again from the sources.

    Checks `spots` tensors spread over the names, the largest one among them.
    """
    names = parse(read_config(out)).shapes()
    ordered = sorted(names)
    chosen = {ordered[i * (len(ordered) - 1) // max(1, spots - 1)] for i in range(spots)}
    chosen.add(max(ordered, key=lambda name: prod(names[name])))
    with ExitStack() as stack:
        written = stack.enter_context(_Reader(out))
        readers = [stack.enter_context(_Reader(folder)) for folder in sources]
        gaps = []
        for name in sorted(chosen):
            exact = sum(c * r.tensor(name).double() for c, r in zip(coefficients, readers, strict=True))
            assert isinstance(exact, Tensor)
            gaps.append(ulp_gap(written.tensor(name), exact))
    return max(gaps)


def alike(folders: Mapping[str, Path]) -> None:
    """Mismatch, naming the pair and what differs, unless all hold one architecture, one tokenizer, one template."""
    descriptions = {name: _Description(folder) for name, folder in folders.items()}
    for one, other in combinations(descriptions, 2):
        if difference := descriptions[one].difference(descriptions[other]):
            raise Mismatch(f"cannot be merged: {difference}.", where=f"{one} and {other}")


class _Reader:
    """The tensors of one model folder by name."""

    def __init__(self, folder: Path) -> None:
        self._shards, self._where = Shards(folder), places(folder)

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._shards.__exit__()

    def tensor(self, name: str) -> Tensor:
        return self._shards.tensor(self._where[name], name)

    def header(self, name: str) -> Header:
        return self._shards.header(self._where[name], name)

    def holds(self, name: str) -> bool:
        return name in self._where


class _Description:
    """What two folders must share to be merged."""

    def __init__(self, folder: Path) -> None:
        try:
            self.config: DecoderConfig = parse(read_config(folder), where=str(folder))
        except UsageError as error:
            raise Mismatch(error.what, where=error.where, remedy=error.remedy) from None
        with _Reader(folder) as reader:
            self.headers = {name: reader.header(name) for name in self.config.shapes() if reader.holds(name)}
        self.tokenizer = _content(folder / "tokenizer.json")
        self.prompting = _content(folder / "posttrain.json")

    def difference(self, other: "_Description") -> str:
        """The first thing that differs, as a clause; empty where nothing does."""
        for name in sorted(self.headers | other.headers):
            one, two = (headers.get(name) for headers in (self.headers, other.headers))
            if one is None or two is None:
                return f"{name} is in one and not in the other"
            if one.shape != two.shape:
                return f"{name} has the shape {list(one.shape)} in one and {list(two.shape)} in the other"
            if not {one.format, two.format} <= FLOATS.keys():
                return f"{name} is quantised"
        if self.config != other.config:
            return "their architectures differ"
        if self.tokenizer != other.tokenizer:
            return "their tokenizers differ"
        return "" if self.prompting == other.prompting else "their prompt templates differ"


def _content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
