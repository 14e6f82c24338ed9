"""Runs nodes on this machine: one warm worker forks, watches and ends them, each a process group of its own."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.engine import machine
from posttrain.engine.run import Ended, Task
from posttrain.spec.errors import BY_CODE, StageFailed, Stop

CLOSING = 10.0
"""Seconds that the worker has to be gone after its socket is closed."""


@dataclass(frozen=True)
class Patience:
    """How long is waited for what; seconds."""

    grace: float = 5.0
    """Between TERM and KILL."""
    beat: float = 5.0
    """Between two heartbeats of a node."""
    hang: float = 120.0
    """Of writing nothing and using no processor until a node is reported as hanging."""


class LocalExecutor:
    """Executes tasks by the callable `work` (`module:name`) in children of one warm worker."""

    def __init__(self, work: str, *, warm: Sequence[str] = ("torch",), patience: Patience | None = None) -> None:
        """`warm`: modules that the worker imports once for all nodes."""
        self._work = work
        self._warm = (*warm, work.partition(":")[0])
        self._patience = patience or Patience()
        self._worker: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._unread = b""
        self._running: dict[str, Task] = {}

    def prepare(self) -> None:
        """Start the worker; it imports while the caller goes on."""
        if self._worker is not None:
            return
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "posttrain.engine.worker", str(theirs.fileno()), *self._warm]
        with theirs:
            self._worker = subprocess.Popen(  # noqa: S603
                command,
                env=_environment(),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._channel = ours

    def start(self, task: Task) -> None:
        """Begin a task; its end comes from `wait`."""
        self.prepare()
        task.log.parent.mkdir(parents=True, exist_ok=True)
        self._running[task.node] = task
        order = {
            "task": task.node,
            "work": self._work,
            "args": list(task.args),
            "options": dict(task.options),
            "log": str(task.log),
            "attempt": task.attempt,
            "memory": task.resources.memory,
            "inside": not machine.accelerator(task.resources.device),  # a driver reserves address space it never uses
        }
        patience = self._patience
        terms = {
            "timeout": task.timeout,
            "memory": task.resources.memory,
            "grace": patience.grace,
            "beat": patience.beat,
            "hang": patience.hang,
        }
        self._say(do="start", order=order, terms=terms)

    def wait(self, seconds: float) -> tuple[Ended, ...]:
        """The tasks that ended within so many seconds; events of others are told on the way."""
        if self._channel is None:
            time.sleep(seconds)
            return ()
        ready, _, _ = select.select([self._channel], [], [], max(0.0, seconds))
        if not ready:
            return ()
        data = _received(self._channel)
        if not data:
            return self._worker_is_gone()
        *whole, self._unread = (self._unread + data).split(b"\n")
        return tuple(end for message in whole if (end := self._hear(json.loads(message))))

    def close(self) -> None:
        """End whatever still runs, TERM first, and the worker."""
        for node in self._running:
            self._say(do="signal", task=node, signal=signal.SIGTERM)
        patience = time.monotonic() + self._patience.grace
        while self._running and self._channel is not None and time.monotonic() < patience:
            self.wait(0.1)
        self._running.clear()
        if self._channel is not None:
            self._channel.close()
        if self._worker is not None:
            try:
                self._worker.wait(CLOSING)
            except subprocess.TimeoutExpired:
                self._worker.kill()
                self._worker.wait()
        self._channel, self._worker, self._unread = None, None, b""

    def _hear(self, message: dict[str, Any]) -> Ended | None:
        task = self._running.get(message["task"])
        if task is None:
            return None
        if "event" in message:
            task.tell(message["event"], **message["fields"])
            return None
        del self._running[task.node]
        told = message["ended"]
        return Ended(task.node, None, told["value"]) if told["code"] == 0 else Ended(task.node, _error(told))

    def _worker_is_gone(self) -> tuple[Ended, ...]:
        """The worker died: its nodes died with it, and nobody is left to say how they ended."""
        gone = tuple(self._running)
        self._running.clear()
        assert self._channel is not None and self._worker is not None
        self._channel.close()
        code = self._worker.wait()
        self._worker, self._channel, self._unread = None, None, b""
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
        remedy = "The same command goes on from the last checkpoint."
        return tuple(Ended(node, StageFailed(f"the worker process died ({how}).", remedy=remedy)) for node in gone)

    def _say(self, **message: object) -> None:
        if self._channel is not None:
            with contextlib.suppress(ConnectionError):
                self._channel.sendall(json.dumps(message).encode() + b"\n")


def _received(channel: socket.socket) -> bytes:
    """What the other side said; nothing where it is gone."""
    try:
        return channel.recv(65536)
    except ConnectionError:
        return b""


def _environment() -> dict[str, str]:
    """Ours, with one thread until a node says how many, and folders that a fresh interpreter would not import from."""
    usual = (sys.prefix, sys.base_prefix)
    folders = [path for path in sys.path if path and not path.startswith(usual)]
    threads = dict.fromkeys(machine.THREADS, "1")
    return {**os.environ, **threads, **({"PYTHONPATH": os.pathsep.join(folders)} if folders else {})}


def _error(told: dict[str, Any]) -> Stop:
    kind = BY_CODE.get(told["code"], StageFailed)
    return kind(told["what"], where=told["where"], remedy=told["remedy"])
