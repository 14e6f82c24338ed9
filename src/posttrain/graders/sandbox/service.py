"""The sandbox of this machine for others, over HTTP: `POST /run` takes a job, `GET /health` says who answers.

What a request may cost is bounded before it is read: its size, the jobs under way, the connections. Programs and tokens
are never logged. Without a token it listens on loopback alone.
"""

import contextlib
import hmac
import ipaddress
import json
import platform
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from posttrain.graders.sandbox import level, protocol
from posttrain.graders.sandbox.job import Ran
from posttrain.graders.sandbox.pool import Pool
from posttrain.spec.errors import MissingNeed, UsageError

CONNECTIONS = 256
"""Connections at once; one more is turned away."""
IDLE = 60.0
"""Seconds after which a connection on which nothing comes is closed."""
_ROOM, _LINES = 32, 4
"""Jobs under way and waiting for each fork server, and connections that a client is told to keep for each."""
_DRAIN = 2.0
_SHORTEST_TOKEN = 16
UNFIT = f"a token has {_SHORTEST_TOKEN} printable characters at least, all of them ASCII"
"""What is said of a token that is not taken."""


def fits(token: str) -> bool:
    """Whether a token is one that is taken: long enough, and printable ASCII."""
    return len(token) >= _SHORTEST_TOKEN and all("!" <= character <= "~" for character in token)


class Service(ThreadingHTTPServer):
    """Listens from the start; `serve_forever` answers, `server_close` ends pool and listener."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, *, token: str, servers: int) -> None:
        """UsageError where it may not listen there; MissingNeed where no level of L2 at least works here."""
        if token and not fits(token):
            raise UsageError(UNFIT)
        family, address = _place(host, port)
        if not token and not _is_loopback(str(address[0])):
            raise UsageError(
                f"{host} can be reached from elsewhere, and no token is asked for",
                remedy="Give --token-file, or listen on 127.0.0.1.",
            )
        self.address_family, self._token = family, token.encode()
        self.level = level.find("L2")
        self._room = threading.BoundedSemaphore(_ROOM * servers)
        self._doors = threading.BoundedSemaphore(CONNECTIONS)
        self.pool = Pool(self.level, servers=servers, queue=_ROOM * servers)
        try:
            super().__init__(address[:2], _Conversation)
        except OSError as error:
            raise MissingNeed(f"cannot listen on {host}:{port} ({error.strerror or error})") from error
        self.health: dict[str, object] = {
            "protocol": protocol.VERSION,
            "level": self.level,
            "checks": {check.name: check.held for check in level.trial(self.level).checks},
            "python": platform.python_version(),
            "lines": _LINES * servers,
        }

    def server_close(self) -> None:
        """Stop listening and end every program."""
        super().server_close()
        self.pool.close()

    def server_bind(self) -> None:
        """Bind without asking a name server for our own name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def accepts(self, said: str | None) -> bool:
        """Whether an Authorization header bears the token; any does where none is asked for."""
        given = (said or "").encode(errors="replace")
        return not self._token or hmac.compare_digest(given, b"Bearer " + self._token)

    @contextlib.contextmanager
    def room(self) -> Iterator[bool]:
        """Whether there is room for one more job, kept during the block."""
        held = self._room.acquire(blocking=False)
        try:
            yield held
        finally:
            if held:
                self._room.release()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread of its own for a connection, while there are not too many."""
        if self._doors.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            with contextlib.suppress(OSError):
                request.send(b"HTTP/1.1 503 Full\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection's requests until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._doors.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nobody's business here: its client sees it."""


class _Conversation(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "posttrain", ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE
    server: Service  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        """Who answers here."""
        if not self._admitted("/health"):
            return
        if self.server.pool.broken:
            self._refuse(500, "the pool has ended")
        else:
            self._answer(200, json.dumps(self.server.health).encode())

    def do_POST(self) -> None:
        """Run a job."""
        if not self._admitted("/run"):
            return
        text = self._body()
        if text is None:
            return
        try:
            number, job = protocol.job_of(text)
        except ValueError as error:
            self._refuse(400, str(error)[:200])
            return
        with self.server.room() as room:
            if not room:
                self._refuse(503, "full", {"Retry-After": "1"})
                return
            try:
                ran = self.server.pool.submit(job).result()
            except (MissingNeed, RuntimeError) as error:
                ran = Ran("sandbox_error", reason=str(error))
        if ran.outcome == "sandbox_error":
            self._refuse(500, ran.reason)
        else:
            self._answer(200, protocol.ran_text(number, ran))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""

    def _admitted(self, path: str) -> bool:
        """Whether the request is for `path` and bears the token; else it is refused."""
        if not self.server.accepts(self.headers.get("Authorization")):
            self._refuse(401, "the token is not the right one", {"WWW-Authenticate": "Bearer"})
        elif self.path != path:
            self._refuse(404, "GET /health, POST /run")
        else:
            return True
        return False

    def _body(self) -> bytes | None:
        """The body; None where it was refused."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            self._refuse(415, "application/json is what is read here")  # what a web page cannot send unasked
        elif self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdecimal()):
            self._refuse(411, "a length is needed")
        elif len(length) > 12 or int(length) > protocol.LONGEST_JOB:
            self._refuse(413, f"more than {protocol.LONGEST_JOB >> 20} MB")
        else:
            text = self.rfile.read(int(length))
            if len(text) == int(length):
                return text
            self.close_connection = True
        return None

    def _refuse(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        """Say why not; where the body was left unread, the connection ends."""
        unread = status in (401, 404, 411, 413, 415)
        self.close_connection |= unread
        self._answer(status, json.dumps({"error": why}).encode(), headers)
        if unread and self.command == "POST":
            self._drain()

    def _drain(self) -> None:
        """Take what still comes, for a while: closed at once, the connection would take the answer with it."""
        self.wfile.flush()
        until = time.monotonic() + _DRAIN
        self.connection.settimeout(_DRAIN)
        with contextlib.suppress(OSError):
            while time.monotonic() < until and self.connection.recv(1 << 16):
                pass

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _place(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, OverflowError, UnicodeError) as error:
        raise UsageError(f"{host}:{port} is no place to listen ({error})") from error
    return found[0][0], found[0][4]


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
