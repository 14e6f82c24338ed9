"""The record of what happened: one JSON object a line, appended whole, never rewritten.

Several processes write one ledger. A line is one `write` under a lock, so lines never mix; a line that a crash
tore is skipped by readers, and the next writer begins a new one. Every record has `t` (Unix seconds), `run` (the
invocation) and `event`; those of a node have `node`:

    run_started    recipe, seed, profiles, jobs, store, pid, host, environment
    plan           decisions [{node, stage, kind, action, reasons, fingerprint, estimate}], off [stage]
    node_kept      fingerprint, reasons
    node_started   fingerprint, reasons, attempt, log
    step           fingerprint, metrics {step, …}; the last of equal (node, fingerprint, step) counts
    progress       done, total, unit
    heartbeat      pid, cpu_s, memory (bytes resident, its children's too), quiet_s (since it wrote or used a processor)
    note           kind, text, count; of kind `hang`: a node that is quiet, where it stands; without node: of the run
    node_finished  fingerprint, digest, metrics, measured
    node_failed    code, what, where, remedy, log, attempt, again (whether it is tried again)
    node_blocked   reasons
    verdict        gate, node, value, severity, metric, condition, evidence, reason, absent, waived
    run_finished   code, wall_s
    judged         code, only, sets, mismatches [text], verdicts [{gate, node, value, condition, waived}]; of `gate`
    waived         gate, reason, text, approved_by, expires (YYYY-MM-DD)
    withdrawn      gate, by, text; takes the waiver of that gate back
    view           node, path, digest (of the file written there); error where it cannot be, aside where another went
"""

import errno
import fcntl
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from posttrain.spec.errors import MissingNeed

Record = dict[str, Any]
"""`t` in Unix seconds, `event`, `run` (the invocation), `node` where it concerns one, and the event's own fields."""


class Ledger:
    """An open ledger; every process opens its own."""

    def __init__(self, path: Path, *, run: str = "") -> None:
        """Open or begin the ledger at a path, for the invocation `run`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._run = run
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._path = path

    def write(self, event: str, *, node: str | None = None, **fields: object) -> None:
        """Append one record; numbers that are not finite become null."""
        about = {} if node is None else {"node": node}
        record = {"t": round(time.time(), 6), "run": self._run, **about, "event": event, **fields}
        self._append(_line(record))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _append(self, line: bytes) -> None:
        """One line, whole, or none: what a disk took of it is cut off again, and MissingNeed says why."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":
                line = b"\n" + line
            why = self._write(line)
            if why:
                os.ftruncate(self._file, size)
                remedy = "Free space or mend the disk, then give the same command again: what is finished is kept."
                raise MissingNeed(f"the ledger cannot be written ({why}).", where=str(self._path), remedy=remedy)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _write(self, line: bytes) -> str:
        """Write; why the whole line is not there, empty where it is."""
        try:
            written = os.write(self._file, line)
        except OSError as error:
            return error.strerror or str(error)
        return "" if written == len(line) else os.strerror(errno.ENOSPC)


class Tail:
    """Reads what was appended since it last looked."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        """Begin at the start, or with what is appended from here on."""
        self._path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0

    def new(self) -> list[Record]:
        """Every whole record since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return list(_records(whole.splitlines()))


def read(path: Path, events: Iterable[str] = ()) -> Iterator[Record]:
    """Every record of a ledger, or those of some events alone; nothing where there is no file.

    A torn line is left out. Lines of other events are not parsed: a ledger is mostly steps.
    """
    wanted = frozenset(events)
    marks = [f'"{event}"'.encode() for event in wanted]
    if path.exists():
        with path.open("rb") as file:
            lines = (line for line in file if any(mark in line for mark in marks)) if marks else file
            yield from (record for record in _records(lines) if not wanted or record["event"] in wanted)


@dataclass(frozen=True)
class Unread:
    """Lines of a ledger that are no records, by number."""

    torn: tuple[int, ...] = ()
    """Begun and not ended: their writer was killed, or the file was cut."""
    strange: tuple[int, ...] = ()
    """Nothing that a writer of ours begins."""

    def __str__(self) -> str:
        """As a report tells it; empty where every line is a record."""
        said = [_counted(self.torn, "torn by a kill"), _counted(self.strange, "no record of ours")]
        return "; ".join(filter(None, said))


def unread(path: Path) -> Unread:
    """The lines of a ledger that `read` leaves out."""
    torn, strange = list[int](), list[int]()
    if path.exists():
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and not any(_records([line])):
                    (torn if line.startswith(_BEGINNING) else strange).append(number)
    return Unread(tuple(torn), tuple(strange))


_BEGINNING = b'{"t":'
"""Of every line that `Ledger` writes."""

_TOLD = 5
"""Numbers of lines that a sentence names."""


def _counted(lines: Sequence[int], what: str) -> str:
    named = ", ".join(map(str, lines[:_TOLD])) + (", …" if lines[_TOLD:] else "")
    return f"{len(lines)} {'line is' if len(lines) == 1 else 'lines are'} {what} ({named})" if lines else ""


def _records(lines: Iterable[bytes]) -> Iterator[Record]:
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(cast("Record", record).get("t"), (int, float)) and "event" in record:
            yield cast("Record", record)


def _line(record: Record) -> bytes:
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(record), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="backslashreplace") + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in cast("list[Any]", value)]
    return value
