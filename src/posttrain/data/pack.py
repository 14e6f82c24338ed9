"""Examples into micro-batches of a token budget: documents packed in rows, or padded rows of like length."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Example(NamedTuple):
    """A tokenised document and which of its tokens are trained."""

    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    """True where the token is a target; as long as `ids`."""
    key: str = ""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of token ids. Position 0 of a document is never a target: nothing before it could predict it."""

    ids: Int[Tensor, "B T"]
    targets: Bool[Tensor, "B T"]
    """True where the token at t is a trained target; never on padding."""
    segments: Int[Tensor, "B T"] | None = None
    """0 is padding, 1, 2, … the document; None: one document a row, padded at the right."""
    positions: Int[Tensor, "B T"] | None = None
    """Position within the document, where rows are packed."""

    def to(self, device: Any) -> "Batch":
        """The same batch on a device."""
        moved = {name: t.to(device) for name, t in vars(self).items() if t is not None}
        return replace(self, **moved)

    @property
    def target_count(self) -> int:
        """How many tokens are trained; what a loss summed over tokens is divided by."""
        return int(self.targets.sum())


def micro_batches(examples: Iterable[Example], *, max_tokens: int, packing: bool, window: int) -> list[Batch]:
    """Every example once, in batches of at most `max_tokens` tokens with padding (at least one row each).

    Packed: documents first-fit in the order given into rows of `window` tokens, with segments and positions.
    Otherwise rows of like length, shortest first. ValueError where an example is longer than `window` or empty.
    """
    kept = list(examples)
    for item in kept:
        if not 0 < len(item.ids) <= window or len(item.ids) != len(item.mask):
            raise ValueError(f"example {item.key!r}: {len(item.ids)} ids, {len(item.mask)} marks, window {window}")
    rows = _first_fit(kept, window) if packing else [[item] for item in sorted(kept, key=lambda item: len(item.ids))]
    return [_batch(group, packed=packing) for group in _budgeted(rows, max_tokens)]


def display(batch: Batch, tokenizer: Any, *, rows: int = 4) -> str:
    """The first rows of a batch as text, a document a line; what is trained stands between « and »."""
    lines: list[str] = []
    for row in range(min(rows, batch.ids.shape[0])):
        ids, targets = batch.ids[row].tolist(), batch.targets[row].tolist()
        segments = batch.segments[row].tolist() if batch.segments is not None else [1] * _used(targets)
        for document in range(1, max(segments, default=0) + 1):
            at = [t for t, segment in enumerate(segments) if segment == document]
            lines.append(_marked([ids[t] for t in at], [targets[t] for t in at], tokenizer))
    return "\n".join(lines)


def _marked(ids: list[int], targets: list[bool], tokenizer: Any) -> str:
    text, start = "", 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or targets[end] != targets[start]:
            piece = tokenizer.decode(ids[start:end], skip_special_tokens=False)
            text += f"«{piece}»" if targets[start] else piece
            start = end
    return text.replace("\n", "\\n")


def _used(targets: list[bool]) -> int:
    return max((t + 1 for t, target in enumerate(targets) if target), default=0)


def _first_fit(examples: Sequence[Example], window: int) -> list[list[Example]]:
    rows: list[list[Example]] = []
    room: list[int] = []
    for item in examples:
        need = len(item.ids)
        row = next((r for r, free in enumerate(room) if free >= need), None)
        if row is None:
            rows.append([item])
            room.append(window - need)
        else:
            rows[row].append(item)
            room[row] -= need
    return rows


def _budgeted(rows: Sequence[list[Example]], max_tokens: int) -> list[list[list[Example]]]:
    groups: list[list[list[Example]]] = []
    widest = 0
    for row in rows:
        width = sum(len(item.ids) for item in row)
        widest = max(widest, width)
        if groups and (len(groups[-1]) + 1) * widest <= max_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
            widest = width
    return groups


def _batch(rows: Sequence[list[Example]], *, packed: bool) -> Batch:
    width = max(sum(len(item.ids) for item in row) for row in rows)
    ids, targets, segments, positions = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(4))
    for r, row in enumerate(rows):
        start = 0
        for number, item in enumerate(row, start=1):
            end = start + len(item.ids)
            ids[r, start:end] = torch.tensor(item.ids)
            targets[r, start + 1 : end] = torch.tensor(item.mask[1:], dtype=torch.long)
            segments[r, start:end] = number
            positions[r, start:end] = torch.arange(end - start)
            start = end
    if packed:
        return Batch(ids, targets.bool(), segments, positions)
    return Batch(ids, targets.bool())
