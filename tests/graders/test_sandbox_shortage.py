"""A machine short of processes or descriptors for a while: what can wait waits, and nothing is told as wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROCESSES = """
import os, resource, subprocess, sys, threading, time
from graders.attacks import ordinary
ordinary.NOBODY = 61000 + os.getpid() % 1000  # nobody else's processes count
ordinary.become_ordinary()
from posttrain.graders.sandbox.pool import Job, Pool
quick = Job({"mode": "stdio", "source": "print(1)"})
slow = Job({"mode": "stdio", "source": "import time; time.sleep(0.4); print(1)"})
pool = Pool("L2", spares=int(sys.argv[1]), slots=4)
assert pool.run([quick])[0].outcome == "done"
(server,) = pool.servers()
time.sleep(0.2)
threads = len(os.listdir("/proc/self/task"))
hogs = [subprocess.Popen(["/bin/sleep", "60"]) for _ in range(3)]
# Of this user: this process, its server with its spares, those that sleep.
full = threads + 1 + int(sys.argv[1]) + len(hogs)
resource.prlimit(server.process.pid, resource.RLIMIT_NPROC, (full, full))
bystander = pool.submit(slow) if sys.argv[2] == "bystander" else None
over = threading.Timer(float(sys.argv[3]), lambda: [hog.kill() for hog in hogs] and [hog.wait() for hog in hogs])
over.daemon = True
over.start()
rans = pool.run([quick] * 3)
print([ran.outcome for ran in rans], bystander and bystander.result().outcome)
print(pool.servers()[0] is server, all(hog.poll() in (None, -9) for hog in hogs))
for hog in hogs:
    hog.kill()
    hog.wait()
print(pool.run([quick])[0].outcome)
pool.close()
"""

JUDGED = """
import os, resource, subprocess, sys, threading, time
from graders.attacks import ordinary
ordinary.NOBODY = 61000 + os.getpid() % 1000
ordinary.become_ordinary()
from posttrain.graders.sandbox.cases import Code
from posttrain.graders.sandbox.pool import Limits, Pool
from posttrain.graders.sandbox.verdict import Submission, judge
tests = Code("for n in (1, 2):\\n    assert f(n) == 2 * n", "f")
asked = [Submission("def f(n): return n + n", tests, limits=Limits(wall=0.6))]
with Pool("L2", spares=0) as pool:
    assert judge(pool, asked)[0].outcome == "pass"
    (server,) = pool.servers()
    hogs = [subprocess.Popen(["/bin/sleep", "60"]) for _ in range(3)]
    full = len(os.listdir("/proc/self/task")) + 1 + len(hogs) + int(sys.argv[1])
    resource.prlimit(server.process.pid, resource.RLIMIT_NPROC, (full, full))
    over = threading.Timer(float(sys.argv[2]), lambda: [hog.kill() for hog in hogs] and [hog.wait() for hog in hogs])
    over.daemon = True
    over.start()
    print(judge(pool, asked)[0].outcome)
    for hog in hogs:
        hog.kill()
        hog.wait()
    print(judge(pool, asked)[0].outcome)
"""

DESCRIPTORS = """
import json, os, resource, sys, threading
from posttrain.graders.registry import Grading
from posttrain.graders.sandbox import level, verdict
class Problem:
    answer_type, prompt = "code", ""
    def __init__(self, tests):
        self.answer = json.dumps({"entry": "f", "tests": tests})
plain = Problem("assert f(2) == 4")
judged = Problem("for n in (1, 2):\\n    assert f(n) == 2 * n")
with Grading() as grading:
    grading.ready([plain])
    if sys.argv[1] == "up":
        assert all(grade.correct for grade in grading.grade_all([plain, judged], ["def f(n): return n + n"] * 2))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for fd in held[-int(sys.argv[2]):] if int(sys.argv[2]) else ():
        os.close(held.pop())
    timer = threading.Timer(float(sys.argv[3]), lambda: [os.close(fd) for fd in held])
    timer.daemon = True
    timer.start()
    texts = ["def f(n): return n + n", "def f(n): return n"] * 2
    grades = grading.grade_all([plain, plain, judged, judged], texts)
    print([grade.outcome for grade in grades], {grade.decided for grade in grades})
    timer.join(0 if timer.interval > 9 else None)
    if timer.interval > 9:
        [os.close(fd) for fd in held]
        timer.cancel()
    print(grading.grade_all([plain], texts[:1])[0].outcome)
"""


def ran(script: str, *arguments: object) -> "list[str]":
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to become a user of its own")


@as_root
@pytest.mark.parametrize("spares", [0, 2])
def test_a_user_without_a_process_left_waits_for_one(spares):
    """S-D14: no process for a while is no verdict on any program, and ends nobody."""
    assert ran(PROCESSES, spares, "bystander" if spares else "alone", 0.4) == [
        f"['done', 'done', 'done'] {'done' if spares else None}",
        "True True",
        "done",
    ]


@as_root
def test_a_user_without_a_process_left_for_long_has_no_verdict():
    """S-D14: an infrastructure failure is never reward 0; the server outlives it."""
    assert ran(PROCESSES, 0, "alone", 60) == [f"{['sandbox_error'] * 3} None", "True True", "done"]


@as_root
@pytest.mark.parametrize("room", [0, 1])
@pytest.mark.parametrize(("until", "outcome"), [(0.9, "pass"), (1.3, "pass"), (60, "sandbox_error")])
def test_a_judge_waits_for_the_program_that_it_asks(room, until, outcome):
    """S-D14: a right program whose jail could not be started has not crashed, nor run out of time."""
    assert ran(JUDGED, room, until) == [outcome, "pass"]


STARTING = """
import os, resource, subprocess, sys, time
from graders.attacks import ordinary
ordinary.NOBODY = 61000 + os.getpid() % 1000
ordinary.become_ordinary()
from posttrain.graders.sandbox.pool import Job, Pool
hogs = [subprocess.Popen(["/bin/sleep", "60"]) for _ in range(3)]
with Pool(sys.argv[1], spares=0) as pool:
    full = len(os.listdir("/proc/self/task")) + len(hogs) + int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_NPROC, (full, full))
    ran = pool.submit(Job({"mode": "stdio", "source": "print(1)"}))
    if float(sys.argv[3]) < 9:
        time.sleep(float(sys.argv[3]))
        for hog in hogs:
            hog.kill()
            hog.wait()
    print(ran.result().outcome, bool(ran.result().reason))
    for hog in hogs:
        hog.kill()
        hog.wait()
    print(pool.submit(Job({"mode": "stdio", "source": "print(1)"})).result().outcome)
"""


@as_root
@pytest.mark.parametrize(
    ("level", "room", "until"),
    [("L3", 0, 0.6), ("L3", 1, 0.6), ("L3", 1, 60), ("L2", 0, 60), ("L2", 1, 0.6), ("L1", 1, 60)],
)
def test_a_server_waits_for_the_processes_that_it_starts_with(level, room, until):
    """S-D14: also where the server itself starts and has none for its confinement."""
    assert ran(STARTING, level, room, until) == ["done False" if until < 9 else "sandbox_error True", "done"]


@pytest.mark.parametrize("up", ["up", "down"])
@pytest.mark.parametrize("left", [0, 5])
def test_a_client_without_a_descriptor_left_waits_for_one(up, left):
    """S-D14: at the start of a server and at a program's start."""
    assert ran(DESCRIPTORS, up, left, 0.3) == ["['right', 'wrong', 'right', 'wrong'] {True}", "right"]


def test_a_client_without_a_descriptor_for_long_has_no_verdict():
    assert ran(DESCRIPTORS, "up", 0, 60) == [f"{['sandbox_error'] * 4} {{False}}", "right"]
