"""The warm worker: a process that has imported what nodes need, and forks one child per node.

`python -m posttrain.engine.worker FD MODULE...` serves JSON lines on the socket FD: `start` forks a child, `signal`
reaches a child's whole process group, and each child's end is told. When the socket closes, its parent is gone: every
child is killed with its group.
"""

import contextlib
import ctypes
import faulthandler
import importlib
import json
import os
import platform
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from posttrain.spec.errors import Stop, refused_by_system

LONGEST = 2000
"""Characters of each part of an error that cross the process boundary: a pipe holds them all."""


@dataclass(frozen=True)
class _Child:
    task: str
    pid: int
    report: int
    """Read end of the pipe on which the child says what became of it."""


class Worker:
    """Serves one parent until it closes the socket."""

    def __init__(self, channel: socket.socket) -> None:
        """Answer on `channel`."""
        self._channel = channel
        self._children: dict[str, _Child] = {}
        self._unread = b""
        self._bell, ring = os.pipe()
        for end in (self._bell, ring):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(ring)
        signal.signal(signal.SIGCHLD, _only_wake)

    def serve(self) -> None:
        """Start, signal and reap children; returns when the parent is gone, with every child killed."""
        while True:
            ready, _, _ = select.select([self._channel, self._bell], [], [])
            if self._bell in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._bell, 4096)
                self._reap()
            if self._channel in ready and not self._listen():
                break
        for child in self._children.values():
            _signal_group(child.pid, signal.SIGKILL)

    def _listen(self) -> bool:
        with contextlib.suppress(ConnectionError):
            data = self._channel.recv(65536)
            *whole, self._unread = (self._unread + data).split(b"\n")
            for message in whole:
                self._obey(json.loads(message))
            return bool(data)
        return False

    def _obey(self, said: dict[str, Any]) -> None:
        if said["do"] == "start":
            self._start(said)
        elif said["task"] in self._children:
            _signal_group(self._children[said["task"]].pid, said["signal"])

    def _start(self, said: dict[str, Any]) -> None:
        listen, speak = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(listen)
            self._channel.close()
            signal.set_wakeup_fd(-1)
            with _Telling(speak) as telling:
                _become_node(parent, Path(said["log"]))
                telling.value = _callable(said["work"])(*said["args"], **said["options"])
        os.close(speak)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._children[said["task"]] = _Child(said["task"], pid, listen)
        self._tell({"task": said["task"], "started": pid})

    def _reap(self) -> None:
        for child in list(self._children.values()):
            ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            _signal_group(child.pid, signal.SIGKILL)
            _, status = os.waitpid(child.pid, 0)
            del self._children[child.task]
            with os.fdopen(child.report, "rb") as pipe:
                os.set_blocking(pipe.fileno(), False)
                said = pipe.read() or b""
            self._tell({"task": child.task, "ended": os.waitstatus_to_exitcode(status), "said": said.decode()})

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            self._channel.sendall(json.dumps(message).encode() + b"\n")


class _Telling:
    """Ends the child: an error that escapes is told through the pipe, and the log has more of it."""

    def __init__(self, pipe: int) -> None:
        """Tell through the write end `pipe`."""
        self._pipe = pipe
        self.value: object = None
        """What the child's work returned."""

    def __enter__(self) -> "_Telling":
        """Begin the child's work."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell how it ended, and end the process."""
        told: dict[str, Any] = {"code": 0, "value": self.value}
        if error is not None:
            told = _said(error)
            if isinstance(error, Stop):
                sys.stderr.write(f"{error.paragraph()}\n")
            else:
                traceback.print_exception(kind, error, trace)
        os.write(self._pipe, json.dumps(told).encode())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(told["code"])


def _said(error: BaseException) -> dict[str, Any]:
    stop = refused_by_system(error) if isinstance(error, OSError) else error
    if isinstance(stop, Stop):
        texts = {"what": stop.what, "where": stop.where, "remedy": stop.remedy}
        return {"code": stop.code, **{key: text[:LONGEST] for key, text in texts.items()}}
    line = traceback.format_exception_only(error)[-1].strip()
    return {"code": Stop.code, "what": line[:LONGEST], "where": "", "remedy": "The traceback stands in the log."}


def _become_node(parent: int, log: Path) -> None:
    """A group of its own, dead when the worker is, talking into the log."""
    os.setpgid(0, 0)
    _die_with_parent(parent)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(source, target)
    os.close(file)
    os.close(nothing)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)


def _die_with_parent(parent: int) -> None:
    if platform.system() == "Linux":
        kill_on_parents_death = 1
        ctypes.CDLL(None).prctl(kill_on_parents_death, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _only_wake(number: int, frame: object) -> None:
    """A handler there must be, so that the signal rings the bell."""


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _callable(dotted: str) -> Callable[..., object]:
    module, _, name = dotted.partition(":")
    return cast("Callable[..., object]", getattr(importlib.import_module(module), name))


def main(arguments: list[str]) -> None:
    """Import the modules named, then serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=int(arguments[0]))
    for module in arguments[1:]:
        importlib.import_module(module)
    Worker(channel).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
