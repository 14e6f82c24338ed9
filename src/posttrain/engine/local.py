"""Runs nodes on this machine: one warm worker, one forked process group per node, deadlines, and no survivors."""

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
from dataclasses import dataclass, field
from typing import Any

from posttrain.engine.run import Ended, Task
from posttrain.spec.errors import BY_CODE, StageFailed, Stop, TimedOut

GRACE = 5.0
"""Seconds between TERM and KILL."""


@dataclass
class _Running:
    task: Task
    deadline: float | None
    pid: int = 0
    stopped: list[int] = field(default_factory=list[int])
    """Signals sent because its time was up."""


class LocalExecutor:
    """Executes tasks by the callable `work` (`module:name`) in children of one warm worker."""

    def __init__(self, work: str, *, warm: Sequence[str] = ("torch",)) -> None:
        """`warm`: modules that the worker imports once for all nodes."""
        self._work = work
        self._warm = (*warm, work.partition(":")[0])
        self._worker: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._unread = b""
        self._running: dict[str, _Running] = {}

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
        self._running[task.node] = _Running(task, None)
        self._say(
            do="start",
            task=task.node,
            work=self._work,
            log=str(task.log),
            args=list(task.args),
            options=dict(task.options),
        )

    def wait(self, seconds: float) -> tuple[Ended, ...]:
        """The tasks that ended within so many seconds."""
        assert self._channel is not None
        ended: list[Ended] = []
        ready, _, _ = select.select([self._channel], [], [], max(0.0, min(seconds, self._until_deadline())))
        if ready:
            data = _received(self._channel)
            if not data:
                return self._worker_is_gone()
            *whole, self._unread = (self._unread + data).split(b"\n")
            ended = [end for message in whole if (end := self._hear(json.loads(message)))]
        self._enforce_deadlines()
        return tuple(ended)

    def close(self, *, grace: float = GRACE) -> None:
        """End whatever still runs, TERM first, and the worker."""
        if self._worker is not None and not any(running.pid for running in self._running.values()):
            self._worker.kill()
            self._running.clear()
        for node in self._running:
            self._say(do="signal", task=node, signal=signal.SIGTERM)
        patience = time.monotonic() + grace
        while self._running and time.monotonic() < patience:
            self.wait(0.1)
        if self._channel is not None:
            self._channel.close()
        if self._worker is not None:
            self._worker.wait()
        self._channel, self._worker = None, None

    def _hear(self, message: dict[str, Any]) -> Ended | None:
        if "started" in message:
            running = self._running[message["task"]]
            running.pid = message["started"]
            running.deadline = time.monotonic() + running.task.timeout if running.task.timeout else None
            return None
        running = self._running.pop(message["task"])
        return _ended(running, message["ended"], message["said"])

    def _until_deadline(self) -> float:
        deadlines = [running.deadline for running in self._running.values() if running.deadline is not None]
        return min(deadlines) - time.monotonic() if deadlines else float("inf")

    def _enforce_deadlines(self) -> None:
        """TERM a task whose time is up, after saying where it stands; KILL it a grace later."""
        now = time.monotonic()
        for running in self._running.values():
            if running.deadline is None or now < running.deadline:
                continue
            last = bool(running.stopped)
            for number in (signal.SIGKILL,) if last else (signal.SIGUSR1, signal.SIGTERM):
                running.stopped.append(number)
                self._say(do="signal", task=running.task.node, signal=number)
            running.deadline = None if last else now + GRACE

    def _worker_is_gone(self) -> tuple[Ended, ...]:
        """The worker died: its children die with it, and nobody is left to say how they ended."""
        gone = tuple(self._running.values())
        self._running.clear()
        if self._channel is not None:
            self._channel.close()
        for running in gone:
            if running.pid:
                _kill_group(running.pid)
        assert self._worker is not None
        code = self._worker.wait()
        self._worker, self._channel, self._unread = None, None, b""
        said = f"the worker process died ({_how(code)})."
        return tuple(Ended(running.task.node, StageFailed(said)) for running in gone)

    def _say(self, **message: object) -> None:
        assert self._channel is not None
        with contextlib.suppress(ConnectionError):
            self._channel.sendall(json.dumps(message).encode() + b"\n")


def _received(channel: socket.socket) -> bytes:
    """What the other side said; nothing where it is gone."""
    try:
        return channel.recv(65536)
    except ConnectionError:
        return b""


def _environment() -> dict[str, str]:
    """Ours, with one thread, and with the folders that we can import from and a fresh interpreter could not."""
    usual = (sys.prefix, sys.base_prefix)
    folders = [path for path in sys.path if path and not path.startswith(usual)]
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, **one_thread, **({"PYTHONPATH": os.pathsep.join(folders)} if folders else {})}


def _ended(running: _Running, exit_code: int, said: str) -> Ended:
    task = running.task
    if running.stopped:
        return Ended(task.node, TimedOut(f"it ran past its timeout of {task.timeout:g} s.", remedy="Raise `timeout`."))
    if not said:
        return Ended(task.node, StageFailed(f"its process died ({_how(exit_code)})."))
    told = json.loads(said)
    if told["code"] == 0:
        return Ended(task.node, None, told.get("value"))
    return Ended(task.node, _error(told))


def _error(told: dict[str, Any]) -> Stop:
    kind = BY_CODE.get(told["code"], StageFailed)
    return kind(told["what"], where=told["where"], remedy=told["remedy"])


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
