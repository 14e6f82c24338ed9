"""The fork server: enters its confinement once, forks one process per program, owns deadlines and kills.

It never reads a job: descriptors pass through it to the child. Single-threaded; it ends, and everything with it, when
the other end of its control socket is gone.
"""

import fcntl
import gc
import json
import marshal
import math
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from . import child, confine, deaths, kernel, modules

ORDER = struct.Struct("<cQIIQQ")
"""b"j" or b"k", job id, CPU seconds, wall milliseconds, bytes of memory, bytes of a file. Descriptors of a job: stdin,
stdout, stderr, result, job, and for one that talks to another jail its channel."""
REPORT = struct.Struct("<QiIQQ")
"""Job id, wait status, why ended (0 by itself, 1 deadline, 2 asked, UNSTARTED), CPU microseconds, kilobytes of memory
at most."""
UNSTARTED = 3
"""No process could be had for the job: too many run on this machine, or under this user."""
PATIENCE = 1.5
"""Seconds for which a job waits for a process; less than the grace that the client gives a server."""
_RETRY = 0.05
STACK = 8 << 20
BEGUN = 1
"""F_SEAL_SEAL on the job's file: confinement stands, the program is next. No program can take it off."""


_CONTROL = 3
_KEPT: list[object] = []
"""Holds the server in a child too: freed, its objects would close descriptors that mean something else by then."""


class Assignment(NamedTuple):
    """What a child was told to do."""

    result: int
    job: int
    channel: int


def main(text: str) -> Callable[[], None]:
    """Serve until the control socket closes. Returns only in a child, what it has to do."""
    config = json.loads(text)
    if config["control"] != _CONTROL:  # as a client with many open files numbers it: beyond what a child closes
        os.dup2(config["control"], _CONTROL)
        os.close(config["control"])
    control = socket.socket(fileno=_CONTROL)
    try:
        ready = _prepare(config)
    except confine.Lacking as error:
        control.send(json.dumps({"lacks": str(error), "number": error.number()}).encode())
        os._exit(0)
    control.send(json.dumps({"uid": os.getuid(), "pid": os.getpid()}).encode())
    server = _Server(control, ready, config["spares"])
    _KEPT.append(server)
    gc.collect()
    gc.freeze()
    given = server.serve()
    return lambda: _begin(given)


class _Ready(NamedTuple):
    """What a confined server starts with."""

    filter: kernel.Filter
    deaths: deaths.Deaths


def _prepare(config: dict[str, Any]) -> _Ready:
    folders, packages = list(map(str, config["folders"])), list(map(str, config["packages"]))
    level = str(config["level"])
    modules.install(folders, packages, held=level == "L1")
    modules.preload([*modules.LEAN, *map(str, config["preload"])])
    modules.warm()
    child.warm()
    os.environ.clear()
    _offer_oneself_to_the_oom_killer()
    readable = [*modules.readable(folders[0]), *packages]
    if level == "L3":
        confine.namespaces([folders[0], *packages])
    confine.restrict(readable, level)
    watch = (deaths.BySignal if level == "L1" else deaths.ByDescriptor)(select.epoll())
    filter_ = confine.filter_calls(level)
    child.prepare()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("jail", "__main__")]:
        del sys.modules[name]
    return _Ready(filter_, watch)


def _offer_oneself_to_the_oom_killer() -> None:
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"1000")
        os.close(fd)
    except OSError:
        return  # without /proc the kernel chooses by size alone


class _Run:
    def __init__(self, job: int, pid: int, deadline: float) -> None:
        self.job, self.pid, self.deadline, self.why = job, pid, deadline, 0


class _Waiting(NamedTuple):
    """An order that no process was there for yet."""

    message: bytes
    fds: list[int]
    run: _Run
    until: float


class _Server:
    def __init__(self, control: socket.socket, ready: _Ready, spares: int) -> None:
        self.control, self.filter, self.wanted, self.pid = control, ready.filter, spares, os.getpid()
        self.deaths, self.poll = ready.deaths, ready.deaths.poll
        self.poll.register(control.fileno(), select.EPOLLIN)
        self.runs: dict[int, _Run] = {}
        """By process id."""
        self.spares: list[tuple[int, int]] = []
        """Process ids, each with the descriptor of the pipe to it: an object would close it in a child too."""
        self.waiting: list[_Waiting] = []

    def serve(self) -> Assignment:
        """Handle orders and deaths until the end; return in a child that was given work."""
        while True:
            events = self.poll.poll(self._patience())
            if not events and self._lacks_spares() and (given := self._spare()):
                return given
            for fd, _ in events:
                if fd == self.control.fileno():
                    self._order()
                for death in self.deaths.told(fd):
                    self._report(death)
            if given := self._start():
                return given
            self._expire()

    def _lacks_spares(self) -> bool:
        """While programs run a fork at need is cheaper; spares are for the first of the next batch."""
        return len(self.spares) < self.wanted and not self.runs and not self.waiting

    def _patience(self) -> float:
        if self._lacks_spares():
            return 0
        due = min((run.deadline for run in self.runs.values()), default=math.inf)
        due = min(due, time.monotonic() + _RETRY) if self.waiting else due
        return -1 if due == math.inf else max(0.0, due - time.monotonic())

    def _order(self) -> None:
        message, fds, _, _ = socket.recv_fds(self.control, ORDER.size, 8)
        if not message:
            self._end()
        kind, job, *_ = ORDER.unpack(message)
        if kind == b"j":
            self.waiting.append(_Waiting(message, fds, _Run(job, 0, math.inf), time.monotonic() + PATIENCE))
            return
        for run in self.runs.values():
            if run.job == job and not run.why:
                self._kill(run, 2)
        for order in [order for order in self.waiting if order.run.job == job]:
            self._give_up(order, 2)

    def _start(self) -> Assignment | None:
        """Give the orders processes, one after the other: a judge must not run before the program that it asks."""
        while self.waiting:
            order = self.waiting[0]
            try:
                if given := self._assign(order.message, order.fds, order.run):
                    return given
            except _NoProcess:
                if time.monotonic() < order.until:
                    break
                self._give_up(order, UNSTARTED)
            else:
                self._let_go(order)
        return None

    def _give_up(self, order: _Waiting, why: int) -> None:
        self._send(REPORT.pack(order.run.job, 0, why, 0, 0))
        self._let_go(order)

    def _let_go(self, order: _Waiting) -> None:
        self.waiting.remove(order)
        for fd in order.fds:
            os.close(fd)

    def _assign(self, message: bytes, fds: list[int], run: _Run) -> Assignment | None:
        """Give work to a spare, or to a new child where none waits; _NoProcess where there can be none."""
        while self.spares:
            run.pid, pipe = self.spares.pop(0)
            with _pipe(pipe) as end:
                if _sent(end, message, fds):
                    break
            os.waitpid(run.pid, 0)  # that spare had died
            run.pid = 0
        if not run.pid:
            try:
                run.pid = kernel.fork()
            except OSError as error:
                raise _NoProcess from error
            if run.pid == 0:
                self._leave()
                _close_all_but(fds)
                return _confined(message, fds, self.filter)
        run.deadline = time.monotonic() + ORDER.unpack(message)[3] / 1000
        self.deaths.follow(run.pid)
        self.runs[run.pid] = run
        return None

    def _spare(self) -> Assignment | None:
        """Fork a child that waits for work. None in the server."""
        ours, its = [end.detach() for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
        try:
            pid = kernel.fork()
        except OSError:  # a spare is no need: one less from here on
            self.wanted -= 1
            os.close(ours)
            os.close(its)
            return None
        if pid == 0:
            self._leave()
            _close_all_but([its])
            with _pipe(its) as end:
                message, fds, _, _ = socket.recv_fds(end, ORDER.size, 8)
            if not message:
                os._exit(0)
            return _confined(message, fds, self.filter)
        os.close(its)
        self.spares.append((pid, ours))
        return None

    def _leave(self) -> None:
        """In a child: end with the server."""
        self.deaths.leave()
        if self.pid != 1:  # the first process of a pid namespace takes all with it anyway
            kernel.die_with_parent()
            if os.getppid() != self.pid:
                os._exit(0)

    def _report(self, death: deaths.Death) -> None:
        run, used = self.runs.pop(death.pid), death.used
        cpu = round((used.ru_utime + used.ru_stime) * 1e6)
        self._send(REPORT.pack(run.job, death.status, run.why, cpu, used.ru_maxrss))

    def _send(self, message: bytes) -> None:
        try:
            self.control.send(message)
        except OSError:
            self._end()

    def _expire(self) -> None:
        now = time.monotonic()
        for run in self.runs.values():
            if run.deadline <= now and not run.why:
                self._kill(run, 1)

    def _kill(self, run: _Run, why: int) -> None:
        run.why, run.deadline = why, math.inf
        os.kill(run.pid, signal.SIGKILL)

    def _end(self) -> None:
        for pid in [*(run.pid for run in self.runs.values()), *(pid for pid, _ in self.spares)]:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


class _NoProcess(Exception):
    """None can be started for the moment."""


def _pipe(fd: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)


def _sent(end: socket.socket, message: bytes, fds: list[int]) -> bool:
    try:
        socket.send_fds(end, [message], fds)
    except OSError:
        return False
    return True


def _close_all_but(fds: list[int]) -> None:
    at = 3
    for fd in sorted(fds):
        if fd > at:
            os.closerange(at, fd)
        at = fd + 1
    os.closerange(at, confine.DESCRIPTORS)


def _confined(message: bytes, fds: list[int], filter_: kernel.Filter) -> Assignment:
    """Give this child its descriptors, its limits and its filter."""
    for target in range(3):
        os.dup2(fds[target], target)
        os.close(fds[target])
    _, _, cpu, _, memory, file = ORDER.unpack(message)
    for name, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_STACK, STACK),
    ):
        resource.setrlimit(name, (value, value))
    filter_.install()
    return Assignment(fds[3], fds[4], fds[5] if len(fds) > 5 else -1)


def _begin(given: Assignment) -> None:
    """Read the job and run it."""
    # Not JSON: it comes from the client, which is trusted, and costs a third of the page faults.
    job = marshal.loads(  # noqa: S302
        os.pread(given.job, os.lseek(given.job, 0, os.SEEK_END), 0)
    )
    fcntl.fcntl(given.job, fcntl.F_ADD_SEALS, BEGUN)
    os.close(given.job)
    child.run(job, given.result, given.channel)
    os._exit(0)
