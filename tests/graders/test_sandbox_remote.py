"""A sandbox elsewhere grades as one here; what the network loses is no grade. Every server is a process of its own."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from graders.attacks.containment import ATTACKS
from graders.attacks.grading import HACKS, JUDGE, RIGHT, RIGHT_STDIN, STDIN, VALUES
from graders.attacks.honest import HONEST
from graders.attacks.world import World, descendants, words
from posttrain.data.records import Problem
from posttrain.graders.registry import Grading
from posttrain.graders.sandbox import protocol, remote
from posttrain.graders.sandbox.pool import Job, Limits, Pool, Ran
from posttrain.graders.sandbox.remote import Remote
from posttrain.graders.sandbox.verdict import Submission, judge
from posttrain.spec.errors import MissingNeed, UsageError

TOKEN = "0123456789abcdef-token"
MODES = {"values": VALUES, "judge": JUDGE, "stdin": STDIN}
SLOW = Job({"mode": "stdio", "source": "import time; time.sleep(0.2); print('slept')"})


class Served:
    """`posttrain sandbox serve` in a process of its own."""

    def __init__(self, folder: Path, *, port: int = 0, token: str = TOKEN, servers: int = 1) -> None:
        self.folder = folder
        (folder / "token").write_text(token + "\n", encoding="utf-8")
        words = ("sandbox", "serve", "--port", str(port), "--servers", str(servers))
        with_token = ("--token-file", str(folder / "token")) if token else ()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "posttrain", *words, *with_token],
            env={key: value for key, value in os.environ.items() if key != protocol.TOKEN},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("sandbox L"), line
        self.url = line.split(" at ")[1].split(",")[0]
        self.port = int(self.url.rpartition(":")[2])

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process.stdout is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    assert server.end() == 0


@pytest.fixture(scope="module")
def client(served) -> Iterator[Remote]:
    with Remote(served.url, token=TOKEN) as made:
        yield made


def test_grades_are_those_of_a_sandbox_here(client):
    """S-D14: a server elsewhere grades honest programs and hacks as the machine itself does."""
    asked = [Submission(item.source, item.tests, tier=item.tier) for item in HONEST if item.tier != "sympy"]
    asked += [Submission(RIGHT_STDIN if mode == "stdin" else RIGHT, tests) for mode, tests in MODES.items()]
    asked += [Submission("def square(n):\n    return 1 // 0\n", VALUES), Submission("print(1)", STDIN)]
    with Pool(client.level) as here:
        expected = [(found.outcome, found.passed, found.total) for found in judge(here, asked)]
    there = [(found.outcome, found.passed, found.total) for found in judge(client, asked)]
    assert there == expected
    assert [outcome for outcome, *_ in there[:-2]] == ["pass"] * (len(asked) - 2)


def test_grading_takes_the_address_for_a_level(served, monkeypatch):
    """S-D14: `resources.sandbox = "http://HOST:PORT"` grades, and tells the level there."""
    monkeypatch.setenv(protocol.TOKEN, TOKEN)
    answer = json.dumps({"entry": "f", "tests": "assert f(2) == 4"})
    problem = Problem(id="p", domain="code", prompt="", answer=answer, answer_type="code")
    with Grading(sandbox=served.url) as grading:
        grades = grading.grade_all([problem] * 3, ["def f(n): return n + n", "def f(n): return n", "def f("])
        assert [grade.outcome for grade in grades] == ["right", "wrong", "runtime_error"]
        assert grading.level is not None


def test_no_hack_passes_through_the_network(client):
    tries = [(hack, mode) for hack in HACKS for mode in hack.modes[:1]]
    asked = [Submission(hack.source, MODES[mode], limits=Limits(cpu=2, wall=0.5)) for hack, mode in tries]
    for (hack, mode), found in zip(tries, judge(client, asked), strict=True):
        assert found.outcome in hack.outcomes, (hack.name, mode, found)


def test_no_attack_succeeds_through_the_network(client):
    with contextlib.closing(World()) as world:
        before = world.look()
        tried = [attack for attack in ATTACKS[::4] if client.level in attack.levels and not attack.before]
        jobs = [Job({"mode": "stdio", "source": world.fill(item.source)}, limits=item.limits) for item in tried]
        for attack, ran in zip(tried, client.run(jobs), strict=True):
            assert not world.harm(before, words(ran)), attack.name
            assert ran.outcome in attack.outcomes, attack.name
        assert len(tried) >= 40


def test_a_program_sees_the_same_and_says_the_same(client):
    job = Job({"mode": "stdio", "source": "print(input()[::-1])"}, stdin="hé\n".encode())
    with Pool(client.level) as here:
        (one,), (other,) = here.run([job]), client.run([job])
    assert (one.outcome, one.stdout, one.stderr, one.status, one.result) == (
        other.outcome,
        other.stdout,
        other.stderr,
        other.status,
        other.result,
    )
    assert other.stdout == "éh\n".encode()


def test_answers_come_to_their_own_questions(client):
    """Many at once over several connections: nothing is misplaced."""
    rans = client.run([Job({"mode": "stdio", "source": f"print({n})"}) for n in range(100)])
    assert [ran.stdout for ran in rans] == [f"{n}\n".encode() for n in range(100)]


@pytest.mark.parametrize("token", ["", "another-token-of-16", TOKEN + "x"])
def test_a_wrong_token_is_refused_with_the_code_of_a_missing_need(served, token):
    with pytest.raises(MissingNeed, match="does not accept the token") as caught:
        Remote(served.url, token=token)
    assert caught.value.code == 4
    assert protocol.TOKEN in str(caught.value) and TOKEN not in str(caught.value)


def test_the_token_comes_from_the_environment(served, monkeypatch):
    monkeypatch.setenv(protocol.TOKEN, TOKEN + "\n")
    with Remote(served.url) as made:
        assert made.level in ("L3", "L2")
        assert TOKEN not in repr(vars(made))


def asked(served: Served, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """One raw request."""
    named = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    named |= {key.replace("_", "-"): value for key, value in headers.items()}
    with contextlib.closing(HTTPConnection("127.0.0.1", served.port, timeout=20)) as connection:
        connection.request(method, path, body, {key: value.encode() for key, value in named.items() if value})
        response = connection.getresponse()
        return response.status, response.read()


def text(**changes: object) -> bytes:
    whole = json.loads(protocol.job_text("n", SLOW)) | changes
    return json.dumps({key: value for key, value in whole.items() if value is not ...}).encode()


LIMITS = {"cpu": 1.0, "wall": 1.0, "memory": 1 << 30, "output": 1000}
NO_JOBS = {
    "no JSON": b"{",
    "no object": b"[]",
    "nothing": b"",
    "too deep": b'{"a":' * 100_000,
    "marshalled": b"\xe3\x00\x00\x00",
    "a field too many": text(more=1),
    "a field too few": text(tier=...),
    "no tier": text(tier="lean/../x"),
    "no mode": text(body={"mode": "exec", "source": ""}),
    "a mode that listens": text(body={"mode": "serve", "source": "", "entry": "f"}),
    "a judge alone": text(body={"mode": "judge", "setup": "", "tests": "", "entry": "f", "check": False}),
    "a program beside none": text(server={"mode": "serve", "source": "", "entry": "f"}),
    "no source": text(body={"mode": "stdio"}),
    "a source that is none": text(body={"mode": "stdio", "source": ["x"]}),
    "a nested call": text(body={"mode": "values", "source": "", "entry": "f", "calls": [["f()"]]}),
    "no base64": text(stdin="*"),
    "no limits": text(limits={}),
    "endless": text(limits=LIMITS | {"wall": 1e9}),
    "not a number": text(limits=LIMITS | {"wall": float("nan")}),
    "infinite": text(limits=LIMITS | {"cpu": float("inf")}),
    "backwards": text(limits=LIMITS | {"wall": -1.0}),
    "true": text(limits=LIMITS | {"wall": True}),
    "all memory": text(limits=LIMITS | {"memory": 1 << 50}),
    "a flood": text(limits=LIMITS | {"output": 1 << 30}),
}


@pytest.mark.parametrize("body", NO_JOBS.values(), ids=NO_JOBS)
def test_what_is_no_job_is_refused_and_the_server_lives(served, client, body):
    assert asked(served, "POST", "/run", body)[0] == 400
    assert client.submit(SLOW).result().outcome == "done"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/run", {"Authorization": ""}, 401),
        ("POST", "/run", {"Authorization": "Bearer é"}, 401),
        ("GET", "/health", {"Authorization": "Basic x"}, 401),
        ("POST", "/nowhere", {}, 404),
        ("GET", "/../etc/passwd", {}, 404),
        ("POST", "/run", {"Content_Type": "text/plain"}, 415),
        ("POST", "/run", {"Content_Length": str(1 << 40)}, 413),
        ("POST", "/run", {"Content_Length": "9" * 30}, 413),
        ("POST", "/run", {"Content_Length": "-1"}, 411),
        ("POST", "/run", {"Transfer_Encoding": "chunked"}, 411),
        ("PUT", "/run", {}, 501),
    ],
)
def test_other_requests_are_refused_by_name(served, method, path, headers, status):
    assert asked(served, method, path, b"{}" if method == "POST" else b"", **headers)[0] == status


def test_what_is_too_large_is_refused_on_both_sides(served, client):
    status, said = asked(served, "POST", "/run", b"x" * (protocol.LONGEST_JOB + 1))
    assert status == 413 and b"MB" in said
    ran = client.submit(Job({"mode": "stdio", "source": "#" * protocol.LONGEST_JOB})).result()
    assert (ran.outcome, ran.tries) == ("sandbox_error", 1) and "MB" in ran.reason
    assert client.submit(SLOW).result().outcome == "done"


def test_a_full_server_says_so_and_its_clients_wait(tmp_path):
    with contextlib.ExitStack() as stack:
        server = Served(tmp_path)
        stack.callback(server.end)
        stop = threading.Event()
        seen: set[int] = set()

        def crowd() -> None:
            while not stop.is_set():
                seen.add(asked(server, "POST", "/run", protocol.job_text("n", SLOW))[0])

        crowds = [threading.Thread(target=crowd) for _ in range(48)]
        for thread in crowds:
            thread.start()
        while 503 not in seen:
            time.sleep(0.05)
        with Remote(server.url, token=TOKEN) as made:
            futures = [made.submit(SLOW) for _ in range(4)]
            time.sleep(0.5)
            stop.set()
            assert [future.result().outcome for future in futures] == ["done"] * 4
        for thread in crowds:
            thread.join()
        assert seen == {200, 503}


@pytest.mark.parametrize("returns", [True, False])
def test_a_server_killed_in_the_middle_of_a_batch_costs_no_grade(tmp_path, monkeypatch, returns):
    """Its programs are run by the next server, or are sandbox errors: never wrong, never another's."""
    monkeypatch.setattr(remote, "SILENCE", 30.0 if returns else 1.0)
    server = Served(tmp_path)
    with Remote(server.url, token=TOKEN) as made:
        jobs = [Job({"mode": "stdio", "source": f"import time; time.sleep(0.1); print({n})"}) for n in range(24)]
        futures = [made.submit(job) for job in jobs]
        while not futures[3].done():
            time.sleep(0.01)
        server.end(signal.SIGKILL)
        if returns:
            server = Served(tmp_path, port=server.port)
        rans = [future.result() for future in futures]
        if returns:
            server.end()
    ends = {ran.outcome for ran in rans}
    assert ends == ({"done"} if returns else {"done", "sandbox_error"})
    for n, ran in enumerate(rans):
        assert ran.stdout == (f"{n}\n".encode() if ran.outcome == "done" else b"")
        assert bool(ran.reason) == (ran.outcome == "sandbox_error")


def test_programs_and_fork_servers_end_with_a_killed_service(tmp_path):
    server = Served(tmp_path)
    with Remote(server.url, token=TOKEN) as made:
        future = made.submit(Job({"mode": "stdio", "source": "import time; time.sleep(60)"}, limits=Limits(wall=60)))
        while not (below := descendants(server.process.pid) - {server.process.pid}):
            time.sleep(0.05)
        server.end(signal.SIGKILL)
        made.close()
        assert future.result().outcome == "sandbox_error"
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in below):
        assert time.monotonic() < until, "fork servers outlive their service"
        time.sleep(0.05)


def test_a_closed_client_takes_nothing_and_leaves_nobody_waiting(served):
    made = Remote(served.url, token=TOKEN)
    futures = [
        made.submit(Job({"mode": "stdio", "source": "import time; time.sleep(1)"}, limits=Limits(wall=9)))
        for _ in range(6)
    ]
    time.sleep(0.3)
    made.close()
    assert {future.result().outcome for future in futures} == {"sandbox_error"}
    with pytest.raises(RuntimeError, match="closed"):
        made.submit(SLOW)


def test_a_client_is_not_shared_with_a_fork(client):
    pid = os.fork()
    if pid == 0:
        try:
            client.submit(SLOW)
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def whole(peer: socket.socket) -> bytes:
    """A request to its last byte: a connection closed before that is reset, and its answer may be lost with it."""
    said = b""
    while b"\r\n\r\n" not in said:
        more = peer.recv(1 << 16)
        if not more:
            return said
        said += more
    head, _, body = said.partition(b"\r\n\r\n")
    size = re.search(rb"(?i)content-length: *(\d+)", head)
    while size and len(body) < int(size[1]):
        more = peer.recv(1 << 16)
        if not more:
            break
        body += more
    return head + b"\r\n\r\n" + body


@contextlib.contextmanager
def answering(*answers: bytes, seen: list[bytes] | None = None) -> Iterator[str]:
    """A listener that gives each connection its bytes, the last of them for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = list(answers)

        def answer() -> None:
            while True:
                try:
                    with listener.accept()[0] as peer:
                        asked = whole(peer)
                        if seen is not None:
                            seen.append(asked)
                        peer.sendall(left.pop(0) if len(left) > 1 else left[0])
                except OSError:
                    return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def http(said: object, status: str = "200 OK") -> bytes:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


HEALTH = {"protocol": protocol.VERSION, "level": "L2", "checks": {"computes": True}, "lines": 2}
UNFIT = {
    "below L2": (HEALTH | {"level": "L1"}, "'L1'"),
    "no level": (HEALTH | {"level": None}, "None"),
    "a level that is none": (HEALTH | {"level": ["L3"]}, "L3"),
    "a check that fails": (HEALTH | {"checks": {"opens no socket": False}}, "opens no socket"),
    "a check that is unsure": (HEALTH | {"checks": {"opens no socket": "yes"}}, "opens no socket"),
    "another version": (HEALTH | {"protocol": 99}, "version 99"),
    "another service": ({"ok": True}, "no sandbox server"),
    "a page": (b"<html>", "no sandbox server"),
    "a number": (b"1", "no sandbox server"),
}


@pytest.mark.parametrize(("said", "named"), UNFIT.values(), ids=UNFIT)
def test_a_server_that_is_not_good_enough_is_refused_at_the_start(said, named):
    with answering(http(said)) as url, pytest.raises(MissingNeed) as caught:
        Remote(url, token="")
    assert named in str(caught.value)


ANSWERS = {
    "another's": (http({}), "fields"),
    "broken off": (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{", "an answer that is none"),
    "none": (b"", "RemoteDisconnected"),
    "no HTTP": (b"hello\r\n\r\n", "BadStatusLine"),
    "an error": (http({"error": "its servers were lost"}, "500 Broken"), "its servers were lost"),
    "a gateway": (http(b"<html>", "502 Bad"), "502"),
}


@pytest.mark.parametrize(("said", "named"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_is_a_sandbox_error_after_some_attempts(said, named, monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", (0.01, 0.01))
    with answering(http(HEALTH), said) as url, Remote(url, token="") as made:
        ran = made.submit(SLOW).result()
    assert (ran.outcome, ran.tries) == ("sandbox_error", 3)
    assert named in ran.reason, ran.reason


def test_an_answer_too_long_is_not_read(monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", ())
    monkeypatch.setattr(protocol, "LONGEST_RAN", 1000)
    with answering(http(HEALTH), http(b" " * 5000)) as url, Remote(url, token="") as made:
        assert made.submit(SLOW).result().outcome == "sandbox_error"


def test_a_token_that_is_taken_back_stops_the_work():
    """Masking every sample from here on would be no training: it stops, and says why."""
    with answering(http(HEALTH), http({}, "401 No")) as url, Remote(url, token="x") as made:
        future = made.submit(SLOW)
        with pytest.raises(MissingNeed, match="does not accept"):
            future.result()


def test_nobody_there_is_a_missing_need(monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", (0.01,))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(MissingNeed, match="no sandbox answers") as caught:
        Remote(f"http://127.0.0.1:{port}")
    assert "nojail" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://", "ftp://a:1", "http://user:hidden@a:1", "http://a:1?x", "http://a:x", "L2", ""]
)
def test_what_is_no_address_is_refused_and_shows_no_secret(url):
    with pytest.raises(UsageError) as caught:
        Remote(url)
    assert "hidden" not in str(caught.value)


def test_an_address_may_have_a_path_before_its_own():
    """As behind a proxy that serves more than this."""
    asked: list[bytes] = []
    with answering(http(HEALTH), seen=asked) as url, Remote(f"{url}/box/", token=""):
        assert asked[0].startswith(b"GET /box/health HTTP/1.1\r\n")


def test_a_token_of_other_characters_is_refused_unseen():
    with pytest.raises(UsageError) as caught:
        Remote("http://127.0.0.1:1", token="sécret")
    assert "cret" not in str(caught.value)


def serve(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "posttrain", "sandbox", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_nothing_listens_to_others_without_a_token(tmp_path):
    short, empty = tmp_path / "short", tmp_path / "empty"
    short.write_text("short", encoding="utf-8")
    empty.write_text("\n", encoding="utf-8")
    for arguments, named in [
        (("--host", "0.0.0.0"), "--token-file"),
        (("--host", "::"), "--token-file"),
        (("--token-file", str(tmp_path / "none")), "cannot be read"),
        (("--token-file", str(empty)), "empty"),
        (("--token-file", str(short)), "16"),
        (("--host", "no such host"), "no place to listen"),
    ]:
        done = serve("--port", "0", *arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert named in done.stderr and "short" not in done.stderr.replace(str(short), ""), done.stderr
        assert "--token-file" not in arguments or arguments[-1] in done.stderr, done.stderr


def test_a_place_that_is_taken_is_a_missing_need():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = serve("--port", str(taken.getsockname()[1]))
    assert done.returncode == 4 and "cannot listen" in done.stderr


def test_on_loopback_no_token_is_needed(tmp_path):
    server = Served(tmp_path, token="")
    with Remote(server.url, token="") as made:
        assert made.submit(SLOW).result().stdout == b"slept\n"
    assert server.end(signal.SIGINT) == 0


plain = some.text() | some.binary().map(lambda data: base64.b64encode(data).decode())


@given(source=some.text(), stdin=some.binary(), calls=some.lists(some.text(), max_size=3))
def test_a_job_arrives_as_it_left(source, stdin, calls):
    job = Job({"mode": "values", "source": source, "entry": "f", "calls": list(calls)}, stdin=stdin)
    assert protocol.job_of(protocol.job_text("n", job)) == ("n", job)


@given(result=some.binary(), stdout=some.binary(), status=some.integers(-64, 255), cpu=some.floats(0, 99))
def test_what_became_of_it_arrives_as_it_left(result, stdout, status, cpu):
    ran = Ran("done", result=result, stdout=stdout, status=status, cpu=cpu)
    assert protocol.ran_of("n", protocol.ran_text("n", ran)) == ran
    with pytest.raises(ValueError, match="another job"):
        protocol.ran_of("m", protocol.ran_text("n", ran))


@given(some.binary() | plain.map(str.encode))
def test_no_bytes_break_the_reading(data):
    for read in (protocol.job_of, lambda data: protocol.ran_of("n", data)):
        with pytest.raises(ValueError):
            read(data)
