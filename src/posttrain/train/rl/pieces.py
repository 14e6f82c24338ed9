"""Responses into micro-batches: those to one prompt share a row and its prompt, so that a prompt is read once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

SHARED = 128
"""Longest row, in tokens, that holds several responses; in longer ones attention costs more than reading a prompt."""

WIDTH, ROWS, READ = 16, 8, 256
"""Widths, rows and read positions are multiples of these: a CPU compiles and keeps a kernel per shape of a product."""


@dataclass(frozen=True)
class Response:
    """One response as the loss sees it."""

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    advantage: float
    share: float
    """What one of its tokens counts; see `policy.token_share`."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A micro-batch: right-padded rows, and flat over its response tokens (`_M`) what the loss needs of each.

    A row is a prompt and then responses without their last token, which predicts nothing.
    """

    ids: Int[Tensor, "B T"]
    segments: Int[Tensor, "B T"] | None
    """0 padding, 1 prompt, 2 … a response each; None where every row has one response."""
    positions: Int[Tensor, "B T"] | None
    """Each response goes on where the prompt ends."""
    prefix: Int[Tensor, " B"] | None
    """Tokens of each row's prompt, which all of its responses see."""
    at_M: Int[Tensor, " M"]
    """Flat index (row · T + column) of the position that predicts the token."""
    of_M: Int[Tensor, " M"]
    """Which of the responses the token belongs to, by its place in what was cut."""
    token_M: Int[Tensor, " M"]
    old_M: Float[Tensor, " M"]
    """Log-probability noted while sampling."""
    advantage_M: Float[Tensor, " M"]
    share_M: Float[Tensor, " M"]
    tokens: int
    """Tokens that are read, prompts included, padding not."""


class _Row(NamedTuple):
    prompt_ids: tuple[int, ...]
    numbers: list[int]
    """The responses it holds."""
    width: int


def pieces(
    responses: Sequence[Response], *, max_tokens: int, device: torch.device, shared: int = SHARED
) -> list[Piece]:
    """Cut responses into micro-batches of at most `max_tokens` tokens with padding (one row at least), widest first.

    Responses to one prompt share a row while it stays within `shared` tokens; 0 gives each a row of its own.
    """
    rows = sorted(_rows(responses, shared), key=lambda row: -row.width)
    made: list[Piece] = []
    while rows:
        width = _up(rows[0].width, WIDTH)
        count = max(1, max_tokens // width)
        here, rows = rows[:count], rows[count:]
        made.append(_piece(here, responses, device, shape=(min(count, _up(len(here), ROWS)), width)))
    return made


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _rows(responses: Sequence[Response], shared: int) -> list[_Row]:
    by_prompt: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, response in enumerate(responses):
        by_prompt[response.prompt_ids].append(number)
    rows: list[_Row] = []
    for prompt_ids, numbers in by_prompt.items():
        held: list[int] = []
        width = len(prompt_ids)
        for number in sorted(numbers, key=lambda n: len(responses[n].ids)):
            more = len(responses[number].ids) - 1
            if held and width + more > shared:
                rows.append(_Row(prompt_ids, held, width))
                held, width = [], len(prompt_ids)
            held.append(number)
            width += more
        rows.append(_Row(prompt_ids, held, width))
    return rows


def _piece(
    rows: Sequence[_Row], responses: Sequence[Response], device: torch.device, *, shape: tuple[int, int]
) -> Piece:
    width = shape[1]
    ids, segments, positions = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    prefix = torch.zeros(shape[0], dtype=torch.long)
    at: list[int] = []
    for r, row in enumerate(rows):
        asked = len(row.prompt_ids)
        ids[r, :asked] = torch.tensor(row.prompt_ids)
        prefix[r] = asked
        segments[r, :asked] = 1
        positions[r, :asked] = torch.arange(asked)
        start = asked
        for place, number in enumerate(row.numbers):
            read = responses[number].ids[:-1]
            end = start + len(read)
            ids[r, start:end] = torch.tensor(read, dtype=torch.long)
            segments[r, start:end] = 2 + place
            positions[r, start:end] = torch.arange(asked, asked + len(read))
            at += [r * width + asked - 1, *range(r * width + start, r * width + end)]
            start = end
    order = [number for row in rows for number in row.numbers]
    chosen = [responses[number] for number in order]
    lengths = torch.tensor([len(response.ids) for response in chosen])

    def each(values: Sequence[float] | Sequence[int]) -> Tensor:
        return torch.tensor(values).repeat_interleave(lengths).to(device)

    together = any(len(row.numbers) > 1 for row in rows)
    return Piece(
        ids=ids.to(device),
        segments=segments.to(device) if together else None,
        positions=positions.to(device) if together else None,
        prefix=prefix.to(device) if together else None,
        at_M=torch.tensor(at, device=device),
        of_M=each(order),
        token_M=torch.tensor([token for response in chosen for token in response.ids], device=device),
        old_M=torch.tensor([x for response in chosen for x in response.logprobs], device=device),
        advantage_M=each([response.advantage for response in chosen]),
        share_M=each([response.share for response in chosen]),
        tokens=sum(row.width for row in rows),
    )
