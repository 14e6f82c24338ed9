"""A process tree is ended whole, and what is left of it is seen."""

import subprocess
import sys

from posttrain.trials import processes

TREE = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], start_new_session=True)
subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], process_group=0)
time.sleep(60)
"""


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
