"""The pool under damage: dead and stopped servers, bad programs, many callers."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from graders.attacks.world import descendants
from posttrain.graders.sandbox.cases import Calls, Case, Code, Stdin
from posttrain.graders.sandbox.pool import Job, Limits, Pool
from posttrain.graders.sandbox.verdict import Submission, judge
from posttrain.spec.errors import Mismatch, MissingNeed

ONE = Calls((Case("f(2)", 4),), "f")
SLOW = Job({"mode": "stdio", "source": "import time; time.sleep(0.2); print('slept')"})
QUICK = Job({"mode": "stdio", "source": "print(1)"})


@pytest.mark.parametrize("level", ["L3", "L2", "L1"])
def test_a_server_that_dies_in_the_middle_of_a_batch_is_replaced_and_its_jobs_run_again(level):
    with Pool(level, slots=2) as pool:
        futures = [pool.submit(SLOW) for _ in range(6)]
        while not any(future.done() for future in futures):
            time.sleep(0.01)
        (server,) = pool.servers()
        os.kill(server.process.pid, signal.SIGKILL)
        rans = [future.result() for future in futures]
        assert [ran.outcome for ran in rans] == ["done"] * 6
        assert all(ran.stdout == b"slept\n" for ran in rans)
        assert max(ran.tries for ran in rans) == 2
        assert pool.servers()[0] is not server


def test_a_job_that_loses_every_server_is_a_sandbox_error_and_not_wrong():
    with Pool("L2") as pool:
        submitted = Submission("import time\ndef f(n):\n    time.sleep(1)\n    return n * n\n", ONE)
        verdicts = []
        caller = threading.Thread(target=lambda: verdicts.extend(judge(pool, [submitted])))
        caller.start()
        killed: set[int] = set()
        while caller.is_alive():
            for server in pool.servers():
                if server.process.pid not in killed:
                    time.sleep(0.1)
                    killed.add(server.process.pid)
                    os.kill(server.process.pid, signal.SIGKILL)
            time.sleep(0.01)
        assert [verdict.outcome for verdict in verdicts] == ["sandbox_error"]
        assert len(killed) >= 2
        assert judge(pool, [Submission("def f(n):\n    return n * n\n", ONE)])[0].outcome == "pass"


def test_a_server_that_stands_still_is_taken_for_dead():
    with Pool("L2") as pool:
        assert pool.submit(QUICK).result().outcome == "done"
        (server,) = pool.servers()
        os.kill(server.process.pid, signal.SIGSTOP)
        ran = pool.submit(Job(QUICK.body, limits=Limits(wall=0.1))).result()
        assert (ran.outcome, ran.tries) == ("done", 2)
        assert server.process.returncode is not None


CLIENT = """
import sys, time
from posttrain.graders.sandbox.pool import Job, Limits, Pool
pool = Pool(sys.argv[1])
pool.submit(Job({"mode": "stdio", "source": "import time; time.sleep(60)"}, limits=Limits(wall=60)))
while not pool.servers():
    time.sleep(0.01)
time.sleep(0.3)
print(pool.servers()[0].process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("level", ["L3", "L2", "L1"])
def test_programs_end_with_the_client(level):
    """A client that is killed leaves no server and no program."""
    client = subprocess.Popen([sys.executable, "-c", CLIENT, level], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    server = int(client.stdout.readline())
    family = descendants(server)
    assert len(family) >= (3 if level == "L3" else 2)
    client.kill()
    client.wait()
    client.stdout.close()
    for _ in range(300):
        if not any(Path(f"/proc/{pid}").exists() for pid in family):
            return
        time.sleep(0.02)
    pytest.fail("processes outlive their client")


def test_results_come_in_the_order_given_from_many_threads():
    with Pool("L2", slots=4, queue=8) as pool:
        seen: dict[int, list[bytes]] = {}

        def ask(who: int) -> None:
            jobs = [Job({"mode": "stdio", "source": f"print({who}, {n})"}) for n in range(20)]
            seen[who] = [ran.stdout for ran in pool.run(jobs)]

        threads = [threading.Thread(target=ask, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == {who: [f"{who} {n}\n".encode() for n in range(20)] for who in range(4)}


def test_a_spare_waits_when_nothing_runs():
    with Pool("L2", spares=2) as pool:
        pool.submit(QUICK).result()
        (server,) = pool.servers()
        for _ in range(100):
            spares = descendants(server.process.pid) - {server.process.pid}
            if len(spares) == 2:
                break
            time.sleep(0.01)
        assert len(spares) == 2
        assert pool.submit(QUICK).result().outcome == "done"


OPEN_FILES = """
import os
for fd in range(3, 2000):
    try:
        os.lseek(fd, 0, 1)
        print(fd)
    except OSError as error:
        if error.errno != 9:
            print(fd, error)
"""


def test_a_client_with_many_open_files_leaks_none_to_a_program():
    """The control socket gets a number beyond what a child would look at to close."""
    ours = [os.open(os.devnull, os.O_RDONLY) for _ in range(900)]
    with Pool("L2") as pool:
        pool.run([QUICK] * 3)
        outputs = [ran.stdout for ran in pool.run([Job({"mode": "stdio", "source": OPEN_FILES})] * 3)]
    for fd in ours:
        os.close(fd)
    assert all(output.count(b"\n") == 1 for output in outputs), outputs


def test_a_server_that_cannot_start_is_an_error_and_no_grade(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with Pool("L2") as pool, pytest.raises(MissingNeed, match="cannot be started"):
        judge(pool, [Submission("def f(n): return n * n", ONE)])


def test_a_pool_whose_thread_breaks_leaves_nobody_waiting(monkeypatch):
    """A defect of ours is no grade either."""
    broken: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: broken.append(args.exc_type))
    monkeypatch.setattr(Pool, "_hear", lambda pool, server: 1 // 0)
    with Pool("L2") as pool:
        assert pool.submit(QUICK).result().outcome == "sandbox_error"
    assert broken == [ZeroDivisionError]


def test_a_pool_is_not_shared_with_a_fork():
    with Pool("L2") as pool:
        pid = os.fork()
        if pid == 0:
            try:
                pool.submit(QUICK)
            except RuntimeError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_closed_pool_takes_nothing_and_leaves_nothing():
    pool = Pool("L2")
    pool.submit(QUICK).result()
    (server,) = pool.servers()
    pending = pool.submit(Job({"mode": "stdio", "source": "import time; time.sleep(60)"}))
    pool.close()
    assert pending.result().outcome == "sandbox_error"
    assert server.process.returncode is not None
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(QUICK)


@pytest.mark.parametrize("tests", [Calls(()), Stdin(()), Code("", "f"), Code("  \n", "f")])
def test_no_tests_is_an_error_and_never_a_pass(tests):
    with Pool("L2") as pool, pytest.raises(Mismatch, match="no tests"):
        judge(pool, [Submission("def f(): pass", tests)])


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("def f(n):\n    return n * n\n#" + "x" * (1 << 20), "pass"),
        ("x = '" + "a" * (4 << 20) + "'", "runtime_error"),
        (bytes(range(256)).decode("latin-1") * 100, "runtime_error"),
        ("def f(n):\n    return (n *", "runtime_error"),
        ("def f(n):\n  return " + "-" * 100_000 + "4", "runtime_error"),
        ("def f(n):\n" + "".join(f"  {' ' * d}if n:\n" for d in range(200)), "runtime_error"),
    ],
    ids=["1 MB", "4 MB", "binary", "truncated", "100,000 signs", "deep blocks"],
)
def test_bad_programs_are_graded_and_hurt_nobody(source, outcome):
    with Pool("L2") as pool:
        (verdict,) = judge(pool, [Submission(source, ONE)])
        expected = (outcome,) if outcome == "pass" else (outcome, "crashed", "memory")
        assert verdict.outcome in expected, verdict
        assert judge(pool, [Submission("def f(n): return n + n", ONE)])[0].outcome == "pass"


def test_draws_and_orders_are_the_same_in_every_server():
    """Grades can be had again bit for bit: no seed and no hash differs between servers."""
    body = {
        "mode": "stdio",
        "source": "import random, numpy\nprint(random.random(), numpy.random.rand(), list({'a', 'b', 'c', 'd', 'e'}))",
    }
    symbolic = {"mode": "stdio", "source": "import sympy\nprint(sympy.randprime(1, 10**9))"}
    outputs, primes = [], []
    for level in ("L3", "L2", "L1"):
        with Pool(level) as pool:
            outputs.append(pool.submit(Job(body, tier="numpy")).result().stdout)
            primes.append(pool.submit(Job(symbolic, tier="sympy")).result().stdout)
    assert len(set(outputs)) == 1 and len(outputs[0]) > 20
    assert len(set(primes)) == 1 and primes[0].strip().isdigit()
