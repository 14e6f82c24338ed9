"""The one reader and the one writer of JSONL: a row a line, in the order and with the fields of its record type."""

import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from pydantic import ValidationError

from posttrain.data.records import Row
from posttrain.spec.errors import Mismatch, UsageError

R = TypeVar("R", bound=Row)

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a UTF-16 pair: JSON can say it, no file can hold it."""


def write(path: Path, rows: Iterable[Row]) -> int:
    """Write rows as UTF-8 lines and return their number; equal rows give equal bytes, compressed (`.gz`) or not.

    The file appears under its name only when it is whole, and on the disk.
    """
    part = path.with_name(path.name + ".part")
    count = 0
    with part.open("wb") as raw:
        with _sink(raw, path) as out:
            for row in rows:
                out.write(row.model_dump_json().encode() + b"\n")
                count += 1
        raw.flush()
        os.fsync(raw.fileno())
    part.replace(path)
    return count


def keep(path: Path, rows: Iterable[Row]) -> None:
    """Write rows for the next attempt at an interrupted work to find: the digest of their bytes stands in the name."""
    write(path, rows)
    path.replace(path.with_name(f"{path.stem}.{_digest(path)}{path.suffix}"))


def kept(path: Path) -> Path | None:
    """The file that `keep` made of a path; None where there is none. Mismatch where it has changed since."""
    pattern = re.compile(rf"{re.escape(path.stem)}\.([0-9a-f]{{64}}){re.escape(path.suffix)}")
    named = (pattern.fullmatch(file.name) for file in path.parent.glob(f"{path.stem}.*{path.suffix}"))
    found = next((match for match in named if match), None)
    if found is None:
        return None
    file = path.with_name(found[0])
    if _digest(file) != found[1]:
        remedy = "Delete the file: its rows are made again, and the work ends with the same bytes."
        raise Mismatch("the kept rows have changed since they were written.", where=str(file), remedy=remedy)
    return file


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path, of: type[R]) -> Iterator[R]:
    """The rows of a file, one at a time; Mismatch names file, line and field of the first row that is not an `of`."""
    return (_row(path, number, line, of) for number, line in _lines(path))


def read_all(path: Path, of: type[R]) -> list[R]:
    """Every row of a file."""
    return list(read(path, of))


def read_fields(path: Path, fields: Collection[str]) -> Iterator[dict[str, str]]:
    """Some fields of a file of anybody's rows, as text; other fields are not looked at.

    A number counts as its text. Mismatch names file, line and field where one is missing or holds anything else.
    """
    for where, row in read_tables(path):
        yield {name: _text(row, name, where) for name in fields}


def read_tables(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line of a file of anybody's rows as the table it holds, with the place it stands; Mismatch for no table."""
    for number, line in _lines(path):
        where = f"{path} line {number}"
        try:
            row = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise Mismatch(f"the whole line: it is not JSON: {error}", where=where) from error
        if not isinstance(row, dict):
            raise Mismatch("the whole line: it is not a table", where=where)
        yield where, cast("dict[str, Any]", row)


def _text(row: dict[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    what = "it holds no text" if name in row else "there is no such field"
    if isinstance(value, str):
        if value.isascii() or not _HALF.search(value):
            return value
        what = "it holds half a character (a lone surrogate)"
    raise Mismatch(f"{name}: {what}", where=where, remedy=f"The line has {', '.join(row)}.")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            yield from enumerate(lines, start=1)
    except FileNotFoundError as error:
        raise Mismatch("there is no such file of rows", where=str(path), remedy="Give data that has it.") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Mismatch("the compressed file is cut or damaged", where=str(path)) from error
    except OSError as error:
        raise UsageError(f"the file of rows cannot be read ({error.strerror}).", where=str(path)) from error


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
