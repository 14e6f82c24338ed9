"""Processes of nodes: nothing outlives its node, its worker or its run; what a hanging one is doing is told."""

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from engine.hands import Make, Patience, alive, gone, hiring, linux
from posttrain.engine.worker import processes, stack
from posttrain.spec.errors import StageFailed, TimedOut


@pytest.fixture
def hands(tmp_path: Path) -> Generator[Make]:
    yield from hiring(tmp_path)


def test_a_timeout_names_the_limit_the_place_and_the_child(hands: Make) -> None:
    """C-S4: a sleeping stage with a grandchild dies whole within the grace; the error names limit and culprit."""
    one = hands("sleeps_over_child")
    one.begin(timeout=1.0)
    error = one.end().error
    assert isinstance(error, TimedOut)
    assert error.what.startswith("it ran past its timeout of 1 s. It stood in ")
    assert "subprocess.py" in error.what
    assert f"its child {one.grandchild} ({sys.executable} -c" in error.what
    assert "Raise `timeout`" in error.remedy
    assert not alive(one.grandchild), "it is dead before the end is told"
    assert "sleeps_over_child" in one.log


@linux
@pytest.mark.parametrize("work", ["sleeps_over_escaped_child", "sleeps_over_orphan"])
def test_a_process_with_a_session_of_its_own_does_not_escape(hands: Make, work: str) -> None:
    one = hands(work)
    one.begin(timeout=0.8)
    assert isinstance(one.end().error, TimedOut)
    assert not alive(one.grandchild)


def test_who_does_not_end_when_asked_is_killed_after_the_grace(hands: Make) -> None:
    one = hands("ignores_term")
    one.begin(timeout=0.8)
    assert isinstance(one.end().error, TimedOut)
    assert gone(one.grandchild)


@linux
@pytest.mark.parametrize("work", ["leaves_orphan", "dies_over_orphan"])
def test_what_a_node_leaves_behind_ends_with_it(hands: Make, work: str) -> None:
    one = hands(work)
    one.begin()
    error = one.end().error
    assert (error is None) == (work == "leaves_orphan")
    assert not alive(one.grandchild)


@linux
def test_nodes_beside_it_live_on(hands: Make, tmp_path: Path) -> None:
    one = hands("sleeps_over_orphan")
    one.begin(timeout=1.2, node="short")
    one.wait_for((tmp_path / "grandchild").exists)
    first = one.grandchild
    (tmp_path / "grandchild").unlink()
    one.begin(node="long")
    assert one.end().node == "short"
    one.wait_for((tmp_path / "grandchild").exists)
    assert not alive(first)
    assert alive(one.grandchild)


@linux
def test_a_killed_worker_takes_everything_with_it(hands: Make) -> None:
    one = hands("kills_worker")
    one.begin()
    error = one.end().error
    assert isinstance(error, StageFailed)
    assert "the worker process died (signal SIGKILL)" in error.what
    assert "same command" in error.remedy
    assert not alive(one.grandchild)
    one.executor.prepare()
    one.executor.close()


@linux
def test_a_killed_guard_takes_everything_with_it(hands: Make) -> None:
    one = hands("kills_guard")
    one.begin()
    error = one.end().error
    assert isinstance(error, StageFailed)
    assert gone(one.grandchild)


PARENT = """
import sys
from pathlib import Path
from engine.hard_work import *
from posttrain.engine.local import LocalExecutor
from posttrain.engine.run import Task
folder = Path(sys.argv[1])
executor = LocalExecutor(f"engine.hard_work:{sys.argv[2]}", warm=())
executor.start(Task("node", folder / "node.log", None, (str(folder),)))
while True:
    executor.wait(1)
"""


@linux
@pytest.mark.parametrize(
    "work", ["sleeps_over_child", "sleeps_over_escaped_child", "sleeps_over_orphan", "runs_endless_programs"]
)
@pytest.mark.parametrize("victims", ["run", "run and worker", "run and guard", "guard, asked"])
def test_a_killed_run_leaves_nobody(tmp_path: Path, work: str, victims: str) -> None:
    """Every descendant is gone, those with a session of their own too."""
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", PARENT, str(tmp_path), work]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(tests)})
    place, until = tmp_path / "grandchild", time.monotonic() + 60
    while not place.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    guard = psutil.Process(process.pid).children()[0]
    family = [one.pid for one in psutil.Process(process.pid).children(recursive=True)]
    assert int(place.read_text()) in family
    if victims == "guard, asked":
        guard.terminate()
        assert all(gone(pid) for pid in family)
    beside = {"run and worker": lambda: guard.children()[0].pid, "run and guard": lambda: guard.pid}
    for pid in (process.pid, *([beside[victims]()] if victims in beside else [])):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert all(gone(pid) for pid in family)


@linux
def test_a_worker_that_hears_nothing_does_not_keep_nodes_alive(hands: Make, tmp_path: Path) -> None:
    one = hands("stops_worker")
    one.begin()
    until = time.monotonic() + 60
    while not (tmp_path / "grandchild").exists():
        assert time.monotonic() < until
        one.executor.wait(0.05)
    one.executor.close()
    assert not alive(one.grandchild)


def test_a_closed_executor_leaves_nobody(hands: Make, tmp_path: Path) -> None:
    one = hands("sleeps_over_child")
    one.begin()
    one.wait_for((tmp_path / "grandchild").exists)
    one.executor.close()
    assert not alive(one.grandchild)


def test_heartbeats_tell_of_quiet_and_memory(hands: Make) -> None:
    one = hands("quiet", patience=Patience(grace=0.3, beat=0.2, hang=60))
    one.begin()
    one.wait_for(lambda: any(event == "heartbeat" and told["quiet_s"] > 0.5 for event, told in one.events))
    told = [fields for event, fields in one.events if event == "heartbeat"][-1]
    assert set(told) == {"pid", "cpu_s", "memory", "quiet_s"}
    assert told["memory"] > 1 << 20
    assert alive(told["pid"])


def test_a_busy_node_is_not_quiet(hands: Make) -> None:
    one = hands("busy")
    one.begin()
    assert one.end().error is None
    beats = [told for event, told in one.events if event == "heartbeat"]
    assert len(beats) >= 3
    assert max(told["quiet_s"] for told in beats) < 0.8
    assert beats[-1]["cpu_s"] > beats[0]["cpu_s"]
    assert not [event for event, _ in one.events if event == "note"]


def test_a_hang_is_reported_while_it_lasts(hands: Make) -> None:
    one = hands("quiet")
    one.begin()
    one.wait_for(lambda: any(event == "note" for event, _ in one.events))
    for _ in range(12):
        one.executor.wait(0.1)
    (note,) = [told for event, told in one.events if event == "note"]
    assert note["kind"] == "hang"
    assert note["text"].startswith("hangs? Quiet for 1 s (nothing written, no processor used): it stands in ")
    assert "engine/hard_work.py:" in note["text"]
    assert " quiet; it has the child " in note["text"]
    assert "(sleep 600)" in note["text"]


def test_the_log_separates_attempts(hands: Make) -> None:
    one = hands("busy")
    for _ in range(2):
        one.begin()
        one.end()
    assert one.log.count("== node, attempt 1, process ") == 2


def test_without_proc_nodes_are_watched_and_ended_through_ps(hands: Make) -> None:
    one = hands("sleeps_over_child", warm=("engine.elsewhere",))
    one.begin(timeout=2.0)
    error = one.end().error
    assert isinstance(error, TimedOut)
    assert f"its child {one.grandchild} ({sys.executable} -c" in error.what
    assert gone(one.grandchild)
    beats = [told for event, told in one.events if event == "heartbeat"]
    assert beats and beats[-1]["memory"] > 1 << 20
    assert {event for event, _ in one.events} == {"heartbeat", "note"}


def test_without_proc_memory_is_limited_from_outside(hands: Make) -> None:
    one = hands("child_allocates", warm=("engine.elsewhere",))
    one.begin(memory=256 << 20)
    error = one.end().error
    assert isinstance(error, StageFailed)
    assert "its processes together resided in more than its limit" in error.what


def test_processes_are_the_same_from_ps_and_from_the_kernel() -> None:
    process = subprocess.Popen(["sleep", "60"])
    spent = psutil.Process().cpu_times()
    own_s, all_s = spent.user + spent.system, sum(spent[:4])
    try:
        for table, cpu_s in ((processes.table(), all_s), (processes.from_ps(), own_s)):
            assert process.pid in {one.pid for one in processes.below(os.getpid(), table)}
            own = table[os.getpid()]
            assert (own.parent, own.group, own.alive) == (os.getppid(), os.getpgrp(), True)
            assert own.memory > 10 << 20
            assert own.cpu_s == pytest.approx(cpu_s, abs=2)
        assert processes.command(process.pid) == "sleep 60"
    finally:
        process.kill()
        process.wait()


DUMP = """
Thread 0x00007f0000000001 (most recent call first):
  File "/x/threading.py", line 3 in wait

Current thread 0x00007f0000000002 (most recent call first):
  File "{lib}/json/decoder.py", line 9 in decode
  File "{lib}/json/__init__.py", line 8 in loads
  File "{lib}/other/deep.py", line 7 in deep
  File "/mine/kind.py", line 6 in parse
  File "/site/posttrain/stages/sft.py", line 12 in run
  File "/site/posttrain/engine/work.py", line 84 in work_node
  File "/site/posttrain/engine/worker/child.py", line 50 in work
something else in the log
"""


def test_a_dump_becomes_one_line() -> None:
    inner = "json/decoder.py:9 decode ← json/__init__.py:8 loads"
    ours = "mine/kind.py:6 parse ← stages/sft.py:12 run ← engine/work.py:84 work_node"
    assert stack.of_dump(DUMP.format(lib=sysconfig.get_path("stdlib"))) == f"{inner} ← {ours}"
    assert stack.of_dump("nothing of the kind") == ""


@pytest.mark.parametrize("timeout", [0.001, 0.03])
def test_a_timeout_right_after_the_start_is_a_timeout(hands: Make, timeout: float) -> None:
    """Nobody is asked where it stands before it can answer."""
    one = hands("quiet")
    for _ in range(3):
        one.begin(timeout=timeout)
        assert isinstance(one.end().error, TimedOut)
