"""A lock says who holds it, and is free however its holder ended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from posttrain.store.lock import Holder, Lock, waiting

HOLDER = """
import sys, time
from pathlib import Path
from posttrain.store.lock import Lock
assert Lock(Path(sys.argv[1])).take() is None
print("held", flush=True)
time.sleep(60)
"""


def holding(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_held_lock_names_its_holder_and_frees_itself_when_it_is_killed(tmp_path: Path) -> None:
    """S-A19: the second is told the holder's pid; a stale lock recovers."""
    path = tmp_path / "deep" / "lock"
    process = holding(path)
    try:
        holder = Lock(path).take()
        assert holder is not None
        assert holder.pid == process.pid
        assert str(holder).startswith(f"process {process.pid} on ")
    finally:
        process.kill()
        process.communicate()
    mine = Lock(path)
    assert mine.take() is None
    assert json.loads(path.read_text())["pid"] == os.getpid()
    mine.release()
    assert not path.exists()


def test_a_lock_file_of_a_dead_process_is_no_lock(tmp_path: Path) -> None:
    """Bad input: a lock held by a dead pid."""
    path = tmp_path / "lock"
    for text in ('{"pid": 999999, "host": "h", "since": 1.0}', "", "{"):
        path.write_text(text)
        lock = Lock(path)
        assert lock.take() is None
        lock.release()


def test_waiting_tells_each_holder_once_and_then_enters(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = holding(path)
    seen: list[Holder] = []

    def notice(holder: Holder) -> None:
        seen.append(holder)
        process.kill()
        process.communicate()

    with waiting(path, notice, poll=0.01):
        assert [holder.pid for holder in seen] == [process.pid]
        assert Lock(path).take() is not None, "it is ours"
    assert Lock(path).take() is None


def test_a_lock_that_cannot_be_written_is_not_held(tmp_path: Path) -> None:
    """A full disk: the error names the lock, and the next one may take it."""
    path = tmp_path / "lock"
    path.symlink_to("/dev/full")
    for _ in range(2):
        with pytest.raises(OSError, match="No space left") as error:
            Lock(path).take()
        assert error.value.filename == str(path)
