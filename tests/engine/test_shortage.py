"""Memory that runs out: one clear paragraph, whichever way it ends the work."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from engine.hands import Make, alive, hiring, linux
from posttrain.engine import machine
from posttrain.engine.machine import amount
from posttrain.engine.worker import shortage
from posttrain.spec.errors import StageFailed

LIMIT = 256 << 20


@pytest.fixture
def hands(tmp_path: Path) -> Generator[Make]:
    yield from hiring(tmp_path)


def paragraph(error: object, limit: str = "its limit (`resources.memory`) is 256 MiB") -> str:
    """The error's text, once it is known to be the one about memory."""
    assert isinstance(error, StageFailed), error
    assert error.what.startswith("memory ran out: ")
    assert f"{limit} and the machine has {amount(machine.memory())}." in error.what
    for word in ("`resources.memory`", "--jobs", "smaller batches", "the same command", "what is finished is kept"):
        assert word in error.remedy
    return error.what


@linux
def test_an_allocation_fails_where_it_is_made(hands: Make) -> None:
    """The limit is an exception with a stack, not a kill."""
    one = hands("allocates")
    one.begin(memory=LIMIT)
    what = paragraph(one.end().error)
    assert "an allocation was refused. It held " in what
    assert "It stood in engine/hard_work.py:" in what
    assert "MemoryError" in one.log
    assert "Traceback" in one.log


@linux
def test_a_tensor_too_large_says_so(hands: Make) -> None:
    one = hands("allocates_tensor", warm=("torch",))
    one.begin(memory=2 << 30)
    what = paragraph(one.end().error, "its limit (`resources.memory`) is 2 GiB")
    assert "allocate memory" in what
    assert "allocates_tensor" in what


@linux
def test_another_error_because_of_it_is_the_same(hands: Make) -> None:
    one = hands("wraps_the_refusal")
    one.begin(memory=LIMIT)
    assert "the table cannot be built" in paragraph(one.end().error)


def test_without_a_limit_a_refusal_says_so(hands: Make) -> None:
    one = hands("wraps_the_refusal")
    one.begin()
    paragraph(one.end().error, "no `resources.memory` limits it")


@linux
def test_what_children_hold_counts(hands: Make) -> None:
    """A child that no limit reaches is seen from outside; node and child are ended."""
    one = hands("child_allocates")
    one.begin(memory=LIMIT)
    what = paragraph(one.end().error)
    assert "its processes together resided in more than its limit" in what
    held = float(what.partition("It held ")[2].split()[0])
    assert 256 < held < 600
    assert "child_allocates" in what
    assert not any(alive(int(told["pid"])) for event, told in one.events if event == "heartbeat")


@linux
@pytest.mark.parametrize("limit", [1 << 30, 1 << 80])
def test_what_fits_runs(hands: Make, limit: int) -> None:
    """64 MiB of numbers in a process with torch, under a limit of 1 GiB, and of more than a system can be told."""
    one = hands("fits", warm=("torch",))
    one.begin(memory=limit)
    ended = one.end()
    assert (ended.error, ended.value) == (None, 1)


def test_a_library_that_aborts_for_want_of_memory_is_understood(hands: Make) -> None:
    one = hands("aborts")
    one.begin()
    what = paragraph(one.end().error, "no `resources.memory` limits it")
    assert "a library ended its process (signal SIGABRT)" in what


CONFINED = """
import os, sys
from pathlib import Path
from posttrain.engine.local import LocalExecutor
from posttrain.engine.run import Task
folder, group = Path(sys.argv[1]), Path(sys.argv[2])
(group / "cgroup.procs").write_text(str(os.getpid()))
executor = LocalExecutor("engine.hard_work:allocates", warm=())
executor.start(Task("node", folder / "node.log", None, (str(folder),)))
while not (ended := executor.wait(1)):
    pass
executor.close()
print(ended[0].error.paragraph())
"""


@linux
def test_the_systems_killer_is_named(tmp_path: Path) -> None:
    """A run in a real control group with a limit, and the system's out-of-memory killer in it."""
    above = re.search(r"^\d+:memory:/(.*)$", machine.OWN_GROUP.read_text(), re.MULTILINE)
    group = machine.GROUPS / "memory" / (above[1] if above else "") / f"posttrain-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group may be made here")
    try:
        (group / "memory.limit_in_bytes").write_text(str(192 << 20))
        command = [sys.executable, "-c", CONFINED, str(tmp_path), str(group)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    finally:
        group.rmdir()
    assert told.startswith("memory ran out: the system's out-of-memory killer ended it (signal SIGKILL).")
    assert "no `resources.memory` limits it and the machine has 192 MiB." in told


def test_only_the_last_attempt_says_why_it_aborted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("== n, attempt 1 ==\nlibgomp: Thread creation failed: Resource temporarily unavailable\n")
    assert shortage.aborted(log)
    log.write_text(log.read_text() + "== n, attempt 2 ==\nnothing of the kind\n")
    assert not shortage.aborted(log)
    assert not shortage.aborted(tmp_path / "none")


def test_kills_are_counted_from_what_the_system_tells(tmp_path: Path) -> None:
    own, groups, vmstat = tmp_path / "cgroup", tmp_path / "groups", tmp_path / "vmstat"
    own.write_text("4:memory:/slice/job\n0::/job\n")
    (groups / "memory" / "slice" / "job").mkdir(parents=True)
    (groups / "job").mkdir()
    counted = lambda: machine.kills(own, groups, vmstat)  # noqa: E731
    assert counted() == 0
    vmstat.write_text("pgfault 7\noom_kill 2\n")
    assert counted() == 2
    (groups / "memory" / "slice" / "job" / "memory.oom_control").write_text("under_oom 0\noom_kill 1\n")
    (groups / "job" / "memory.events").write_text("low 0\noom 1\noom_kill 4\noom_group_kill 0\n")
    assert counted() == 7


def test_a_control_group_bounds_the_machine(tmp_path: Path) -> None:
    own, groups = tmp_path / "cgroup", tmp_path / "groups"
    own.write_text("0::/above/job\n")
    (groups / "above" / "job").mkdir(parents=True)
    assert machine.memory(own, groups) == machine.memory(tmp_path / "none", groups)
    (groups / "above" / "memory.max").write_text("1073741824\n")
    (groups / "above" / "job" / "memory.max").write_text("max\n")
    (groups / "above" / "cpu.max").write_text("max 100000\n")
    assert machine.memory(own, groups) == 1 << 30
    whole = machine.cores(own, groups)
    assert whole == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else whole
    (groups / "above" / "job" / "cpu.max").write_text("150000 100000\n")
    assert machine.cores(own, groups) == 1
    own.write_text("3:cpu,cpuacct:/\n4:memory:/\n")
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text(str(2 << 30))
    assert machine.memory(own, groups) == 2 << 30


def test_only_memory_is_a_shortage() -> None:
    assert shortage.refused(MemoryError())
    assert shortage.refused(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert shortage.refused(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not shortage.refused(RuntimeError("shape mismatch"))
    assert not shortage.refused(OSError(errno.ENOSPC, "disk full"))
    assert not shortage.refused(ValueError("out of memory"))


def test_no_more_threads_is_not_told_as_memory() -> None:
    said = shortage.of_error(RuntimeError("can't start new thread"), None).what
    assert said.startswith("no thread can be started")
    assert "an allocation was refused" in shortage.of_error(RuntimeError("can't start new thread"), 1 << 30).what


def test_amounts_are_readable() -> None:
    assert [amount(n) for n in (0, 312, 2 << 30, 1536, 5 << 40)] == ["0 B", "312 B", "2 GiB", "1.5 KiB", "5.0 TiB"]
