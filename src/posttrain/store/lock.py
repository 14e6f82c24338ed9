"""One process at a time: a file lock that says who holds it and is free again however its process ends."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    pid: int
    host: str
    since: float
    """Unix seconds."""

    def __str__(self) -> str:
        """As an error names it."""
        return f"process {self.pid} on {self.host}" if self.pid else "another process"


class Lock:
    """An exclusive lock on a file."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is taken yet."""
        self._path, self._file = path, -1

    def take(self) -> Holder | None:
        """None where the lock is ours now; else who has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(file)
                os.close(file)
                return holder
            if self._is_current(file):
                break
            os.close(file)
        us = Holder(os.getpid(), socket.gethostname(), round(time.time(), 3))
        try:
            told = json.dumps(asdict(us)).encode()
            os.pwrite(file, told, 0)
            os.ftruncate(file, len(told))
        except OSError as error:
            os.close(file)
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        self._file = file
        return None

    def release(self) -> None:
        """Let the next one in."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = -1

    def _is_current(self, file: int) -> bool:
        """Whether the file locked is still the one at the path: its last holder removes it."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file))
        except FileNotFoundError:
            return False


@contextmanager
def waiting(path: Path, notice: Callable[[Holder], None], *, poll: float = 0.1) -> Generator[None]:
    """Hold a lock, waiting for whoever has it; `notice` hears of each holder once."""
    lock, seen = Lock(path), None
    while (holder := lock.take()) is not None:
        if holder != seen:
            notice(holder)
            seen = holder
        time.sleep(poll)
    try:
        yield
    finally:
        lock.release()


def _holder(file: int) -> Holder:
    try:
        return Holder(**json.loads(os.pread(file, 4096, 0)))
    except (ValueError, TypeError):
        return Holder(0, "", 0.0)
