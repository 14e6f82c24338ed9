"""A process tree is ended whole, and what is left of it is seen."""

import subprocess
import sys

import pytest

from posttrain.trials import processes

TREE = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], start_new_session=True)
subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], process_group=0)
time.sleep(60)
"""

NODE = """
import time
from posttrain.graders.sandbox import level
from posttrain.graders.sandbox.pool import Job, Pool
pool = Pool(level.find())
pool.submit(Job({"mode": "stdio", "source": "print(1)"})).result()
pool.submit(Job({"mode": "stdio", "source": "while True: pass"}))
print(flush=True)
time.sleep(60)
"""
"""Runs programs in the sandbox, one of them without end."""
LEFT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], start_new_session=True)
time.sleep(60)
"""
"""Starts what does not end with it."""


@pytest.fixture
def tree():
    """A driver with one worker, which runs a text; the driver, when the text has printed a line."""
    drivers = []

    def grown(text: str) -> int:
        line = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {text!r}], start_new_session=True)"
        drivers.append(subprocess.Popen([sys.executable, "-c", line], stdout=subprocess.PIPE, start_new_session=True))
        drivers[-1].stdout.readline()
        return drivers[-1].pid

    yield grown
    for driver in drivers:
        processes.end(driver.pid)
        driver.wait()
        driver.stdout.close()


def test_a_sandbox_ends_with_its_node(tree):
    """S-D14: kill -9 of a node in the middle of a program: sandbox and program are gone, though nobody killed them."""
    root = tree(NODE)
    apart = processes.apart(root)
    inside = processes.survivors(apart)
    assert len(apart) == 1 and len(inside) >= 2
    killed = processes.end(root, spared=apart)
    assert not killed & apart.keys()
    assert processes.outlived(apart) == ()


def test_what_does_not_end_with_its_node_is_told_and_killed(tree, monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    root = tree(LEFT)
    apart = processes.apart(root)
    left = processes.survivors(apart)
    processes.end(root, spared=apart)
    assert processes.outlived(apart) == left != ()
    monkeypatch.undo()
    assert processes.outlived(apart) == ()


def test_a_tree_with_a_session_and_a_group_of_its_own_is_ended():
    """S-A7: driver, worker and nodes are in sessions and groups of their own; none of them survives."""
    root = subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE, start_new_session=True)
    assert root.stdout is not None
    for _ in range(2):
        root.stdout.readline()
    family = processes.family(root.pid)
    assert len(family) == 3
    sessions = {one.session for one in family.values()}
    assert set(processes.survivors(sessions)) == set(family)
    assert processes.end(root.pid, known=family) == sessions
    root.wait()
    root.stdout.close()
    assert processes.survivors(sessions) == ()
    assert processes.family(root.pid) == {}


def test_who_outlives_its_parent_is_seen():
    line = f"import subprocess; subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(60)'])"
    root = subprocess.Popen([sys.executable, "-c", line], start_new_session=True)
    root.wait()
    (left,) = processes.survivors({root.pid})
    processes.end(left)
    assert processes.survivors({root.pid}) == ()


def test_the_table_of_ps_is_read_where_there_is_no_proc():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        told = {one.pid: one for one in processes.from_ps()}
        assert told[child.pid].session == child.pid
    finally:
        child.kill()
        child.wait()
