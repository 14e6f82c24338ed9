"""Programs that a node has run in a sandbox: they end with the node, and what they hold is the node's."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import psutil
import pytest

from engine.hands import Make, alive, gone, hiring, linux
from posttrain.engine.worker import processes
from posttrain.spec.errors import StageFailed


@pytest.fixture
def hands(tmp_path: Path) -> Generator[Make]:
    yield from hiring(tmp_path)


@linux
def test_a_killed_node_leaves_no_sandbox(hands: Make, tmp_path: Path) -> None:
    """S-A7, S-D14: kill -9 while programs run: server, spares and programs are gone, and the end is told."""
    one = hands("runs_endless_programs")
    one.begin()
    one.wait_for((tmp_path / "grandchild").exists)
    server = psutil.Process(one.grandchild)
    node = server.ppid()
    one.wait_for(lambda: any(child.cpu_times().user > 0.3 for child in server.children(recursive=True)))
    family = [process.pid for process in processes.below(node, processes.table())]
    assert server.pid in family and len(family) > 1
    os.kill(node, signal.SIGKILL)
    error = one.end().error
    assert isinstance(error, StageFailed) and "SIGKILL" in error.what
    assert all(gone(pid) for pid in family)


@linux
def test_a_node_past_its_time_takes_its_programs_with_it(hands: Make) -> None:
    """S-D14: the sandbox has sessions of its own, and does not escape."""
    one = hands("runs_endless_programs")
    one.begin(timeout=6.0)
    error = one.end().error
    assert error is not None and error.what.startswith("it ran past its timeout of 6 s.")
    assert not alive(one.grandchild)


@linux
def test_what_programs_hold_counts_as_the_node_s(hands: Make) -> None:
    """S-D14: a heartbeat adds the programs' memory to the node's."""
    one = hands("runs_large_programs")
    one.begin()
    one.wait_for(lambda: any(f["memory"] > 1 << 29 for event, f in one.events if event == "heartbeat"))


@linux
def test_a_program_is_not_held_to_the_memory_of_its_node(hands: Make) -> None:
    """S-D13: its own limit makes its verdict; past what the node may hold the node ends, and nobody is rewarded 0."""
    one = hands("runs_large_programs")
    one.begin(memory=400 << 20)
    ended = one.end()
    assert isinstance(ended.error, StageFailed), ended
    assert ended.error.what.startswith("memory ran out: ")
    assert not alive(one.grandchild)
