"""Whether two formulas are equal, asked of processes that can be killed. Nothing here reads a formula.

The processes (`worker.py`) are started at the first question and stay warm. Their number, time and memory are limits on
harm, not knobs: a comparison that needs more is `exhausted`, which is no verdict.
"""

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal, cast

from posttrain.spec.errors import MissingNeed

Outcome = Literal["equal", "different", "unparsable", "exhausted"]

SECONDS = 1.4
"""Wall clock of one comparison."""

MEMORY = 512 << 20
"""Bytes one comparison may hold."""

WORKERS = 2
"""Processes at most; each is started when all others are busy."""

LONGEST = 300
"""Characters of a formula that is compared; a longer one is unparsable."""

START_S, GRACE_S = 120.0, 10.0
"""How long a process may take to import its libraries, and to answer beyond a comparison's time."""


def equal(gold: str, given: str, *, seconds: float = SECONDS) -> Outcome:
    """Compare two formulas of LaTeX; asked again, what was decided is remembered. MissingNeed where no process runs."""
    if max(len(gold), len(given)) > LONGEST or "\x00" in gold + given:
        return "unparsable"
    try:
        return _decided(gold, given, seconds)
    except _UndecidedError:
        return "exhausted"


class _UndecidedError(Exception):
    """Keeps an exhausted comparison out of the memory: on an idle machine it may end."""


@lru_cache(maxsize=4096)
def _decided(gold: str, given: str, seconds: float) -> Outcome:
    outcome = _pool().ask(gold, given, seconds)
    if outcome == "exhausted":
        raise _UndecidedError
    return outcome


class Pool:
    """Up to `workers` processes; safe to use from several threads."""

    def __init__(self, workers: int = WORKERS, memory: int = MEMORY) -> None:
        """Start nothing yet; `memory` in bytes of one comparison."""
        self._memory = memory
        self._free, self._seats, self._lock = list[_Keeper](), threading.Semaphore(workers), threading.Lock()

    def ask(self, gold: str, given: str, seconds: float) -> Outcome:
        """The verdict of a free process; one that is found dead is replaced and asked once more."""
        with self._seats:
            for _ in range(2):
                keeper = self._take()
                told = keeper.ask(gold, given, seconds)
                if told is not None:
                    with self._lock:
                        self._free.append(keeper)
                    return told
                keeper.end()
        raise MissingNeed(
            "the process that compares formulas dies",
            where="maths grader",
            remedy="Is math-verify installed, and is there memory to start a Python process?",
        )

    def processes(self) -> list[int]:
        """Ids of the processes that wait for work."""
        with self._lock:
            return [keeper.pid for keeper in self._free]

    def close(self) -> None:
        """End all that wait."""
        with self._lock:
            while self._free:
                self._free.pop().end()

    def _take(self) -> "_Keeper":
        with self._lock:
            return self._free.pop() if self._free else _Keeper(self._memory)


class _Keeper:
    """Our end of one worker process."""

    def __init__(self, memory: int) -> None:
        kept = {
            name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ
        }
        self._process = subprocess.Popen(  # noqa: S603 (our own script)
            [sys.executable, "-P", "-W", "ignore", str(Path(__file__).with_name("worker.py")), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**kept, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        )
        self.pid = self._process.pid
        self._alive = self._hear(START_S) == "ready"

    def ask(self, gold: str, given: str, seconds: float) -> Outcome | None:
        """Its verdict; None where the process is lost."""
        if not self._alive:
            return None
        request = json.dumps({"gold": gold, "given": given, "seconds": seconds}) + "\n"
        try:
            cast("IO[bytes]", self._process.stdin).write(request.encode())
        except BrokenPipeError:
            return None
        return cast("Outcome | None", self._hear(seconds + GRACE_S))

    def end(self) -> None:
        """Close its input, which ends it, and kill it where it does not."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _hear(self, seconds: float) -> str | None:
        """One line within some seconds; None at the end of the stream or of the time."""
        pipe, end, told = cast("IO[bytes]", self._process.stdout), time.monotonic() + seconds, b""
        while not told.endswith(b"\n"):
            ready = select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]
            got = pipe.read(256) if ready else b""
            if not got:
                return None
            told += got
        return json.loads(told)["outcome"]


_pools: dict[int, Pool] = {}
"""By process: a forked child must not speak on its parent's pipes."""


def _pool() -> Pool:
    mine = _pools.get(os.getpid())
    if mine is None:
        mine = _pools.setdefault(os.getpid(), Pool())
        atexit.register(mine.close)
    return mine
