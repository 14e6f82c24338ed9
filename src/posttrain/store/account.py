"""What was spent for good: tokens and money, counted before they are used, by as many processes as there are.

The file holds one record of fixed width that is written in place by a single call under a lock: a process killed at
any point leaves the count before or the count after. Nothing is batched, so no cap is passed and nothing is missed.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

from posttrain.spec.errors import Mismatch, MissingNeed
from posttrain.spec.knobs import UNLIMITED, Budget

WIDTH = 128
"""Bytes of the record."""

Cap = Literal["tokens", "money"]


@dataclass(frozen=True)
class Spent:
    """An amount of each."""

    tokens: int = 0
    money: Decimal = Decimal(0)

    def __add__(self, other: "Spent") -> "Spent":
        """Both together."""
        return Spent(self.tokens + other.tokens, self.money + other.money)

    def beyond(self, caps: Budget) -> Cap | None:
        """The cap that this amount passes; None where it passes none."""
        if caps.tokens is not None and self.tokens > caps.tokens:
            return "tokens"
        return "money" if caps.money is not None and self.money > caps.money else None

    def reached(self, caps: Budget) -> Cap | None:
        """The cap that leaves nothing to spend; None where there is none."""
        if caps.tokens is not None and self.tokens >= caps.tokens:
            return "tokens"
        return "money" if caps.money is not None and self.money >= caps.money else None


class Account:
    """The count in one file; every process opens its own."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is made with the first thing that is spent."""
        self._path, self._file = path, -1

    def spent(self) -> Spent:
        """All that was spent so far; Mismatch where the file is not an account."""
        try:
            return self._read(self._path.read_bytes())
        except FileNotFoundError:
            return Spent()

    def spend(self, more: Spent, caps: Budget = UNLIMITED) -> Cap | None:
        """Count more, unless that passes a cap: then nothing is counted and the cap is returned."""
        assert more.tokens >= 0 and more.money >= 0, more
        file = self._open()
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            total = self._read(os.pread(file, WIDTH, 0)) + more
            cap = total.beyond(caps)
            if cap is None:
                self._write(file, total)
            return cap
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        if self._file < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return self._file

    def _write(self, file: int, total: Spent) -> None:
        record = json.dumps({"tokens": total.tokens, "money": str(total.money)}).ljust(WIDTH - 1) + "\n"
        assert len(record) == WIDTH, record
        if os.pwrite(file, record.encode(), 0) != WIDTH:
            remedy = "Free some space and run again; this account must be whole before anything is spent."
            raise MissingNeed("the disk is full.", where=str(self._path), remedy=remedy)

    def _read(self, record: bytes) -> Spent:
        if not record:
            return Spent()
        try:
            told = json.loads(record)
            found = Spent(int(told["tokens"]), Decimal(told["money"]))
        except (ValueError, KeyError, TypeError, OverflowError, InvalidOperation) as error:
            raise self._strange() from error
        if found.tokens < 0 or not found.money.is_finite() or found.money < 0:
            raise self._strange()
        return found

    def _strange(self) -> Mismatch:
        remedy = "Write what was spent into it, or remove it to begin at nothing."
        return Mismatch("this is no account of what was spent.", where=str(self._path), remedy=remedy)
