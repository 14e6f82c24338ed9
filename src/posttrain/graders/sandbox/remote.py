"""A sandbox on another machine (`posttrain sandbox serve`), asked over HTTP; to its users it is like a pool.

What the network loses is asked again; a program that gets no answer ends as `sandbox_error`, which says nothing of it.
"""

import contextlib
import http.client
import json
import os
import queue
import socket
import threading
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import urlsplit

from posttrain.graders.sandbox import protocol
from posttrain.graders.sandbox.job import Job, Ran
from posttrain.spec.errors import MissingNeed, UsageError

PAUSES = (0.2, 1.0, 3.0, 6.0)
"""Seconds before each further attempt; after the last a program is given up."""
SILENCE = 15.0
"""Seconds without any answer after which a program gets one attempt and no more."""
BUSY = 120.0
"""Seconds for which a server may say that it is full before a program is given up."""
_CONNECT, _ANSWER = 10.0, 300.0
"""Seconds until a server must be reached, and until it must have answered."""
_ENOUGH = ("L3", "L2")
_MOST_CONNECTIONS = 64
_NAMED = f"Give the server's token in the environment variable {protocol.TOKEN}."
_OTHERWISE = (
    "Start one with `posttrain sandbox serve`, or set resources.sandbox to a level of this machine; or add --profile"
    " nojail, which keeps to expression tasks and runs no program."
)


@dataclass(frozen=True)
class _Answer:
    """Status and body; status 0 where nobody answered, `body` saying why."""

    status: int
    body: bytes
    wait: float = 0.0
    """Seconds after which the server wants to be asked again."""

    def words(self) -> str:
        """What was wrong, in a line."""
        text = self.body[:200].decode(errors="replace")
        return text if self.status == 0 else f"status {self.status}: {text}"


@dataclass(frozen=True)
class _Address:
    secure: bool
    host: str
    port: int
    folder: str
    """What stands before the paths of the service; empty or `/…`."""


@dataclass(frozen=True)
class _Health:
    level: str
    lines: int


class _Line:
    """One connection, made when needed, kept while it works."""

    def __init__(self, address: _Address, token: str) -> None:
        self.address, self.token, self.cut = address, token, False
        self.connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes = b"") -> _Answer:
        """One request and its answer; a failure of the network is an answer too."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection = self.connection or self._connected()
            if self.cut:
                raise ConnectionAbortedError("the client was closed")
            connection.request(method, self.address.folder + path, body, headers)
            response = connection.getresponse()
            text = response.read(protocol.LONGEST_RAN + 1)
        except (OSError, http.client.HTTPException) as error:
            self.drop()
            return _Answer(0, f"{type(error).__name__}: {error}".encode(errors="replace"))
        if len(text) > protocol.LONGEST_RAN or response.will_close:
            self.drop()
        wait = response.headers.get("Retry-After", "")
        return _Answer(response.status, text, float(wait) if wait.isdecimal() else 0.0)

    def drop(self) -> None:
        """Let go of the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def interrupt(self) -> None:
        """From another thread: whoever waits for an answer gets none."""
        self.cut = True
        sock = None if self.connection is None else self.connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):  # the other side was faster
                sock.shutdown(socket.SHUT_RDWR)

    def _connected(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self.address.secure else http.client.HTTPConnection
        connection = kind(self.address.host, self.address.port, timeout=_CONNECT)
        connection.connect()
        connection.sock.settimeout(_ANSWER)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.connection = connection
        return connection


class Remote:
    """A sandbox server elsewhere; `submit` and `close` as those of a pool."""

    def __init__(self, url: str, *, token: str | None = None, queued: int = 256) -> None:
        """Ask the server who it is. The token comes from the environment where none is given; no record holds it.

        MissingNeed where nobody answers, the token is refused, or the server has no level of L2 at least.
        """
        self.url, address = url, _address(url)
        secret = _token(os.environ.get(protocol.TOKEN, "") if token is None else token)
        first = _Line(address, secret)
        health = _health(first, url)
        first.drop()
        self.level = health.level
        """The level of confinement there."""
        self._room = threading.BoundedSemaphore(queued)
        self._waiting: queue.SimpleQueue[tuple[Job, Future[Ran]] | None] = queue.SimpleQueue()
        self._closing, self._owner = threading.Event(), os.getpid()
        self._silent: float | None = None
        """Since when every attempt of every thread has failed."""
        self._lines = [_Line(address, secret) for _ in range(max(1, min(health.lines, _MOST_CONNECTIONS)))]
        self._threads = [
            threading.Thread(target=self._work, args=(line,), name="remote sandbox", daemon=True)
            for line in self._lines
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> Future[Ran]:
        """Run a program there when there is room; waits while too many are under way."""
        if os.getpid() != self._owner:
            raise RuntimeError("this client belongs to the process that this one was forked from")
        self._room.acquire()
        if self._closing.is_set():
            self._room.release()
            raise RuntimeError("this client is closed")
        future = Future[Ran]()
        self._waiting.put((job, future))
        return future

    def run(self, jobs: Iterable[Job]) -> list[Ran]:
        """Run programs; results in the order given."""
        return [future.result() for future in [self.submit(job) for job in jobs]]

    def close(self) -> None:
        """Let go of the server; what is still under way ends as `sandbox_error`."""
        self._closing.set()
        for line in self._lines:
            line.interrupt()
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "Remote":
        """The client itself; it closes at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _work(self, line: _Line) -> None:
        while (given := self._waiting.get()) is not None:
            job, future = given
            try:
                future.set_result(self._ran(line, job))
            except MissingNeed as error:
                future.set_exception(error)
            finally:  # nobody waits for a thread that broke
                self._room.release()
                if not future.done():
                    future.set_result(_lost("the client broke"))
        line.drop()

    def _ran(self, line: _Line, job: Job) -> Ran:
        number = uuid.uuid4().hex
        text = protocol.job_text(number, job)
        if len(text) > protocol.LONGEST_JOB:
            return _lost(f"a job of more than {protocol.LONGEST_JOB >> 20} MB")
        tries, until = 0, time.monotonic() + BUSY
        while not self._closing.is_set():
            answer = line.ask("POST", "/run", text)
            if answer.status == 503 and answer.wait and time.monotonic() < until:
                self._closing.wait(min(answer.wait, 5.0))
                continue
            tries += 1
            found = self._read(number, answer)
            if isinstance(found, Ran):
                return found
            if tries > len(PAUSES) or self._given_up():
                return _lost(found, tries)
            self._closing.wait(PAUSES[tries - 1])
        return _lost("the client was closed", tries)

    def _read(self, number: str, answer: _Answer) -> Ran | str:
        """What became of the program, or why nothing is known yet. MissingNeed where the token is not accepted."""
        if answer.status in (401, 403):
            raise _refused(self.url)
        self._silent = None if answer.status else self._silent or time.monotonic()
        if 400 <= answer.status < 500:
            return _lost(answer.words())
        if answer.status != 200:
            return answer.words()
        try:
            return protocol.ran_of(number, answer.body)
        except ValueError as error:
            return f"an answer that is none: {error}"

    def _given_up(self) -> bool:
        return self._silent is not None and time.monotonic() - self._silent > SILENCE


def _lost(reason: str, tries: int = 1) -> Ran:
    return Ran("sandbox_error", tries=tries, reason=reason)


def _health(line: _Line, url: str) -> _Health:
    """Who the server says it is; MissingNeed where it is not good enough."""
    answer = _Answer(0, b"")
    for pause in (*PAUSES, None):
        answer = line.ask("GET", "/health")
        if 0 < answer.status < 500 or pause is None:
            break
        time.sleep(pause)
    if answer.status in (401, 403):
        raise _refused(url)
    if answer.status != 200:
        raise MissingNeed(f"no sandbox answers at {url} ({answer.words()})", remedy=_OTHERWISE)
    try:
        said = json.loads(answer.body)
        lines, level, checks = int(said["lines"]), said["level"], dict(said["checks"])
        version = said["protocol"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MissingNeed(f"what answers at {url} is no sandbox server", remedy=_OTHERWISE) from error
    if version != protocol.VERSION:
        what = f"the sandbox at {url} speaks version {version!r} of the protocol, not {protocol.VERSION}"
        raise MissingNeed(what, remedy="Run the same posttrain on both sides.")
    failed = [str(name) for name, held in checks.items() if held is not True]
    if level not in _ENOUGH or failed:
        why = f"these of its checks fail: {', '.join(failed)}" if failed else "L2 is the least that is taken"
        raise MissingNeed(f"the sandbox at {url} works at level {level!r}, and {why}", remedy=_OTHERWISE)
    return _Health(level, lines)


def _refused(url: str) -> MissingNeed:
    return MissingNeed(f"the sandbox at {url} does not accept the token", remedy=_NAMED)


def _token(text: str) -> str:
    if not all("!" <= character <= "~" for character in text.strip()):
        raise UsageError(f"the token in {protocol.TOKEN} holds more than printable ASCII", remedy=_NAMED)
    return text.strip()


def _address(url: str) -> _Address:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise _unusable(url) from error
    more = parts.username or parts.password or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not parts.hostname or more:
        raise _unusable(url)
    return _Address(parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/"))


def _unusable(url: str) -> UsageError:
    shown = url.rpartition("@")[2]  # what stands before it could be a secret
    return UsageError(f"{shown!r} is no address of a sandbox server", remedy='Write "http://HOST:PORT".')
