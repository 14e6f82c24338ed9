"""The one reader and the one writer of JSONL: a row a line, in the order and with the fields of its record type."""

import gzip
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from pydantic import ValidationError

from posttrain.data.records import Row
from posttrain.spec.errors import Mismatch

R = TypeVar("R", bound=Row)


def write(path: Path, rows: Iterable[Row]) -> int:
    """Write rows as UTF-8 lines and return their number; equal rows give equal bytes, compressed (`.gz`) or not.

    The file appears under its name only when it is whole.
    """
    part = path.with_name(path.name + ".part")
    count = 0
    with part.open("wb") as raw, _sink(raw, path) as out:
        for row in rows:
            out.write(row.model_dump_json().encode() + b"\n")
            count += 1
    part.replace(path)
    return count


def read(path: Path, of: type[R]) -> Iterator[R]:
    """The rows of a file, one at a time; Mismatch names file, line and field of the first row that is not an `of`."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield _row(path, number, line, of)
    except FileNotFoundError as error:
        raise Mismatch("there is no such file of rows", where=str(path)) from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise Mismatch("the compressed file is cut or damaged", where=str(path)) from error


def read_all(path: Path, of: type[R]) -> list[R]:
    """Every row of a file."""
    return list(read(path, of))


def _row(path: Path, number: int, line: bytes, of: type[R]) -> R:
    try:
        return of.model_validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole line"
        raise Mismatch(
            f"{field}: {first['msg']}",
            where=f"{path} line {number}",
            remedy=f"A line is one {of.__name__}: {', '.join(of.model_fields)}.",
        ) from error


def _sink(raw: BinaryIO, path: Path) -> AbstractContextManager[BinaryIO]:
    """`raw` itself, or a compressor over it that writes neither name nor time."""
    if path.suffix == ".gz":
        return cast(AbstractContextManager[BinaryIO], gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0))
    return nullcontext(raw)
