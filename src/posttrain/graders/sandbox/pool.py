"""The client: programs in, what became of them out. One thread drives the servers; any thread may submit.

A server that dies is replaced and its programs run again; only one that loses its server twice ends as `sandbox_error`,
which says nothing about the program.
"""

import fcntl
import marshal
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from posttrain.graders.sandbox.jail import wire
from posttrain.graders.sandbox.jail.zygote import BEGUN, ORDER, PATIENCE, REPORT, UNSTARTED
from posttrain.graders.sandbox.job import Job, Limits, Ran
from posttrain.graders.sandbox.server import SHORTAGES, Refused, Server

ATTEMPTS = 2
GRACE = 3.0
"""Seconds after a deadline in which a server must have reported, or be taken for dead."""
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between attempts while this machine is short of something; then what waits ends as `sandbox_error`."""
_FILE = 1 << 20
"""Bytes at which the kernel stops a program's writing to any of its outputs."""


class _Flight:
    """A job on its way: its descriptors, its deadline, its future."""

    def __init__(self, job: Job) -> None:
        self.job, self.future, self.tries = job, Future[Ran](), 0
        self.files: dict[str, int] = {}
        self.due = 0.0
        self.partner: int | None = None
        self.alone = False
        """Its partner could not be started."""

    def open(self, body: dict[str, wire.Tree], stdin: bytes, channel: int | None) -> list[int]:
        """The descriptors that a child gets."""
        contents = {"stdin": stdin, "stdout": None, "stderr": None, "result": None, "job": marshal.dumps(body)}
        for name, content in contents.items():
            self.files[name] = _memory(content)
        self.tries += 1
        return [*self.files.values(), *(() if channel is None else (channel,))]

    def close(self) -> None:
        for fd in self.files.values():
            os.close(fd)
        self.files = {}


class Pool:
    """Servers at one level, for every tier, as many as asked for."""

    def __init__(self, level: str, *, servers: int = 1, slots: int = 2, spares: int = 2, queue: int = 256) -> None:
        """`servers` of each tier, started when first needed, each running `slots` programs at once.

        `submit` waits while `queue` programs are under way.
        """
        self.level, self.count, self.slots, self.spares = level, servers, slots, spares
        self._room = threading.BoundedSemaphore(queue)
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[_Flight]] = {}
        self._servers: dict[str, list[Server]] = {}
        self._flights: dict[Server, dict[int, _Flight | None]] = {}
        self._select = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._select.register(self._wake, selectors.EVENT_READ)
        self._next, self._closing, self._owner = 0, False, os.getpid()
        self._pauses, self._until = 0, 0.0
        self._thread = threading.Thread(target=self._drive, name="sandbox", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Future[Ran]:
        """Run a program when there is room; waits while too many are under way."""
        if os.getpid() != self._owner:
            raise RuntimeError("this pool belongs to the process that this one was forked from")
        self._room.acquire()
        flight = _Flight(job)
        with self._lock:
            if self._closing:
                self._room.release()
                raise RuntimeError("this pool is closed")
            self._waiting.setdefault(job.tier, deque()).append(flight)
            os.eventfd_write(self._wake, 1)
        return flight.future

    def run(self, jobs: Iterable[Job]) -> list[Ran]:
        """Run programs; results in the order given."""
        return [future.result() for future in [self.submit(job) for job in jobs]]

    def servers(self) -> Sequence[Server]:
        """The servers that are up."""
        return [server for servers in self._servers.values() for server in servers]

    @property
    def broken(self) -> bool:
        """Whether nothing more can be run: it was closed, or its thread met a defect."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """End every server and every program."""
        with self._lock:
            if not self._closing:
                self._closing = True
                os.eventfd_write(self._wake, 1)
        self._thread.join()

    def __enter__(self) -> "Pool":
        """The pool itself; it closes at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _drive(self) -> None:
        try:
            while not self._closing:
                self._dispatch()
                for key, _ in self._select.select(self._patience()):
                    if key.fd == self._wake:
                        os.eventfd_read(self._wake)
                    else:
                        self._hear(key.data)
                self._watch()
        finally:  # nobody waits for a thread that is gone
            with self._lock:
                self._closing = True
            self._shut()

    def _dispatch(self) -> None:
        if time.monotonic() < self._until:
            return
        with self._lock:
            tiers = [tier for tier, waiting in self._waiting.items() if waiting]
        for tier in tiers:
            waiting = self._waiting[tier]
            try:
                while waiting and (server := self._free(tier, 2 if waiting[0].job.server else 1)):
                    self._launch(server, waiting.popleft())
            except Refused as error:
                self._fail(waiting, error)
            except OSError as error:
                self._pause(waiting, error)
                return

    def _pause(self, waiting: deque[_Flight], error: OSError) -> None:
        """Try again in a moment, or give up what waits."""
        last = self._pauses == len(PAUSES)
        self._until = time.monotonic() + (0 if last else PAUSES[self._pauses])
        self._pauses = 0 if last else self._pauses + 1
        while waiting and last:
            self._land(waiting.popleft(), Ran("sandbox_error", reason=f"no room for a program ({error})"))

    def _free(self, tier: str, needed: int) -> Server | None:
        """The server with most room; a new one where fewer than `count` are up."""
        up = self._servers.setdefault(tier, [])
        if len(up) < self.count:
            try:
                server = Server(self.level, tier, spares=self.spares)
            except OSError:
                if not up:
                    raise
            else:
                up.append(server)
                self._flights[server] = {}
                self._select.register(server.control, selectors.EVENT_READ, server)
        best = min(up, key=lambda server: len(self._flights[server]))
        return best if len(self._flights[best]) + needed <= max(self.slots, needed) else None

    def _launch(self, server: Server, flight: _Flight) -> None:
        job, side, ours = flight.job, _Flight(flight.job), None
        flight.due = time.monotonic() + job.limits.wall + GRACE
        try:
            ours = socket.socketpair() if job.server is not None else None
            if ours is not None and job.server is not None:
                # It must not run out first: its end would look like a crash to the judge.
                beside = replace(job.limits, cpu=job.limits.cpu + 1, wall=job.limits.wall + 1 + PATIENCE)
                flight.partner = self._order(server, None, side.open(job.server, b"", ours[1].fileno()), beside)
            files = flight.open(job.body, job.stdin, ours[0].fileno() if ours else None)
            self._order(server, flight, files, job.limits)
            self._pauses = 0
        except OSError as error:
            if error.errno not in SHORTAGES:
                self._replace(server, [flight])
                return
            flight.close()
            self._waiting[job.tier].appendleft(flight)
            raise
        finally:
            side.close()
            for end in ours or ():
                end.close()

    def _order(self, server: Server, flight: _Flight | None, files: list[int], limits: Limits) -> int:
        self._next += 1
        cpu = max(1, -int(-limits.cpu // 1))
        order = ORDER.pack(b"j", self._next, cpu, round(limits.wall * 1000), limits.memory, _FILE)
        socket.send_fds(server.control, [order], files)
        self._flights[server][self._next] = flight
        return self._next

    def _hear(self, server: Server) -> None:
        try:
            message = server.control.recv(REPORT.size)
        except OSError:
            message = b""
        if len(message) != REPORT.size:
            self._replace(server, [])
            return
        job, status, why, cpu, memory = REPORT.unpack(message)
        flight = self._flights[server].pop(job, None)
        if flight is None:
            if why == UNSTARTED:
                self._leave_alone(server, job)
            return
        if flight.partner is not None:
            server.control.send(ORDER.pack(b"k", flight.partner, 0, 0, 0, 0))
        if why == UNSTARTED or flight.alone:
            self._again(flight, "no process could be started: too many run here, or under this user")
        elif fcntl.fcntl(flight.files["job"], fcntl.F_GET_SEALS) & BEGUN:
            self._land(flight, _result(flight, os.waitstatus_to_exitcode(status), why, cpu / 1e6, memory << 10))
        else:
            self._again(flight)

    def _leave_alone(self, server: Server, partner: int) -> None:
        """What a judge says that had nobody to ask is no verdict."""
        for flight in self._flights[server].values():
            if flight and flight.partner == partner:
                flight.alone = True

    def _land(self, flight: _Flight, ran: Ran) -> None:
        flight.close()
        self._room.release()
        flight.future.set_result(ran)

    def _fail(self, waiting: deque[_Flight], error: Exception) -> None:
        while waiting:
            flight = waiting.popleft()
            self._room.release()
            flight.future.set_exception(error)

    def _patience(self) -> float | None:
        dues = [flight.due for flights in self._flights.values() for flight in flights.values() if flight]
        dues += [self._until] if self._until > time.monotonic() else []
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _watch(self) -> None:
        now = time.monotonic()
        for server, flights in list(self._flights.items()):
            if any(flight and flight.due <= now for flight in flights.values()):
                self._replace(server, [])

    def _replace(self, server: Server, more: list[_Flight], *, alive: bool = False) -> None:
        """Away with a server; what it was running waits for the next one."""
        flights = self._flights.pop(server, None)
        if flights is not None:
            self._select.unregister(server.control)
            self._servers[server.tier].remove(server)
            server.close() if alive else server.kill()
        for flight in [*more, *(flight for flight in (flights or {}).values() if flight and flight not in more)]:
            self._again(flight)

    def _again(self, flight: _Flight, reason: str = "its servers were lost") -> None:
        """What was lost through no fault of the program runs once more."""
        flight.close()
        flight.partner, flight.alone = None, False
        if flight.tries >= ATTEMPTS:
            self._land(flight, Ran("sandbox_error", tries=flight.tries, reason=reason))
        else:
            self._waiting[flight.job.tier].appendleft(flight)

    def _shut(self) -> None:
        for server in list(self._flights):
            for flight in self._flights[server].values():
                if flight:
                    flight.tries = ATTEMPTS
            self._replace(server, [], alive=True)
        for flight in [flight for waiting in self._waiting.values() for flight in waiting]:
            self._land(flight, Ran("sandbox_error", tries=flight.tries, reason="the sandbox was closed"))
        self._select.close()
        os.close(self._wake)


def _result(flight: _Flight, code: int, why: int, cpu: float, memory: int) -> Ran:
    limits, files = flight.job.limits, flight.files
    sizes = {name: os.fstat(files[name]).st_size for name in ("stdout", "stderr", "result")}
    if max(sizes["stdout"], sizes["stderr"]) > limits.output or sizes["result"] >= _FILE:
        outcome = "output_limit"
    elif why or (code == -9 and cpu > limits.cpu - 0.1):
        outcome = "timeout"
    elif code == -9 and memory > limits.memory // 4:
        outcome = "memory"  # nobody here sends SIGKILL to a program for anything else: the kernel ran out
    else:
        outcome = "crashed" if code < 0 else "done"
    return Ran(
        outcome,
        result=os.pread(files["result"], sizes["result"], 0),
        stdout=os.pread(files["stdout"], min(sizes["stdout"], limits.output), 0),
        stderr=os.pread(files["stderr"], min(sizes["stderr"], limits.output), 0),
        status=code,
        cpu=cpu,
        memory=memory,
        tries=flight.tries,
    )


def _memory(content: bytes | None) -> int:
    """A file in memory; sealed where it has content."""
    fd = os.memfd_create("job", os.MFD_CLOEXEC | (0 if content is None else os.MFD_ALLOW_SEALING))
    if content is not None:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd
