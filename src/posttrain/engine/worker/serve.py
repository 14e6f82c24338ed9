"""Serves one run: forks a child per node, watches them, tells how each ended."""

import contextlib
import functools
import json
import os
import select
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.engine import machine
from posttrain.engine.worker import child, guard, processes, shortage
from posttrain.engine.worker.child import Order
from posttrain.engine.worker.watch import Terms, Watch
from posttrain.spec.errors import StageFailed


@dataclass(frozen=True)
class _Child:
    order: Order
    pid: int
    report: int
    """Read end of the pipe on which the child says what became of it."""
    watch: Watch
    kills: int
    """How often the system had killed for want of memory when it began."""


class Worker:
    """Serves one parent until it closes the socket, or until SIGTERM."""

    def __init__(self, channel: socket.socket) -> None:
        """Answer on `channel`."""
        self._channel = channel
        self._children: dict[str, _Child] = {}
        self._unread = b""
        self._over = False
        processes.adopt_orphans()
        self._before = tuple(p.pid for p in processes.table().values() if p.parent == os.getpid())
        self._bell, self._ring = os.pipe()
        for end in (self._bell, self._ring):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._ring)
        signal.signal(signal.SIGCHLD, guard.only_wake)
        signal.signal(signal.SIGTERM, self._finish)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until a child has learnt to answer it

    def serve(self) -> None:
        """Start, watch, signal and reap children; returns when the parent is gone, with every child killed."""
        while not self._over:
            due = min((one.watch.due for one in self._children.values()), default=None)
            left = None if due is None else max(0.0, due - time.monotonic())
            ready, _, _ = select.select([self._channel, self._bell], [], [], left)
            if self._bell in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._bell, 4096)
                self._reap()
            if self._channel in ready and not self._listen():
                break
            self._watch()
        for one in self._children.values():
            processes.send_tree(one.pid, signal.SIGKILL)
        guard.sweep(self._before)

    def _finish(self, number: int, frame: object) -> None:
        self._over = True

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
            order = Order(**said["order"])
            self._start(order, Terms(**said["terms"]))
        elif said["task"] in self._children:
            processes.send_tree(self._children[said["task"]].pid, said["signal"])

    def _start(self, order: Order, terms: Terms) -> None:
        listen, speak = os.pipe()
        parent, kills = os.getpid(), machine.kills()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            self._channel.close()
            for file in (listen, self._bell, self._ring, *(one.report for one in self._children.values())):
                os.close(file)
            child.work(order, speak, parent)
        os.close(speak)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        watch = Watch(pid, Path(order.log), terms, time.monotonic())
        self._children[order.task] = _Child(order, pid, listen, watch, kills)

    def _watch(self) -> None:
        """Look after every child whose time has come; all looks of one moment share one view of the processes."""
        now, table = time.monotonic(), functools.cache(processes.table)
        for one in self._children.values():
            if now >= one.watch.due:
                for event, fields in one.watch.look(now, table):
                    self._tell({"task": one.order.task, "event": event, "fields": dict(fields)})

    def _reap(self) -> None:
        """Tell of children that have ended; what they left behind dies before."""
        codes = {task: code for task, one in self._children.items() if (code := _collected(one.pid)) is not None}
        ended = [(self._children.pop(task), code) for task, code in codes.items()]
        guard.sweep((*self._before, *(one.pid for one in self._children.values())))
        for one, code in ended:
            with os.fdopen(one.report, "rb") as pipe:
                os.set_blocking(pipe.fileno(), False)
                said = pipe.read() or b""
            self._tell({"task": one.order.task, "ended": _told(one, code, said)})

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            self._channel.sendall(json.dumps(message).encode() + b"\n")


def _collected(pid: int) -> int | None:
    """The exit code of a child that has ended, what is left of its group killed; None while it lives.

    Where the system can, the group is killed before the child is collected: until then no other has its number.
    """
    if hasattr(os, "waitid"):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        processes.send_group(pid, signal.SIGKILL)
    collected, status = os.waitpid(pid, os.WNOHANG)
    if not collected:
        return None
    if not hasattr(os, "waitid"):
        processes.send_group(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def _told(one: _Child, code: int, said: bytes) -> dict[str, Any]:
    """How a child ended: what it said itself, unless it was ended from here or had no time to say anything."""
    told: dict[str, Any] | None = json.loads(said) if said else None
    if told is not None and (told["code"] == 0 or one.watch.error is None):
        return told
    if one.watch.error is not None:
        return child.plain(one.watch.error)
    memory = one.order.memory
    if code == -signal.SIGKILL and machine.kills() > one.kills:
        how = "the system's out-of-memory killer ended it (signal SIGKILL)"
        return child.plain(shortage.told(how, one.watch.held, memory, ""))
    if code != -signal.SIGKILL and shortage.aborted(Path(one.order.log)):
        how = f"a library ended its process ({how_ended(code)}), and the log says why"
        return child.plain(shortage.told(how, one.watch.held, memory, ""))
    remedy = "Its log may say more. The same command goes on from its last checkpoint."
    return child.plain(StageFailed(f"its process died ({how_ended(code)}).", remedy=remedy))


def how_ended(code: int) -> str:
    """An exit code, or the signal that it stands for."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
