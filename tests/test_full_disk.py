"""A disk that is full or read-only: one paragraph, exit 4, nothing finished lost, the same command goes on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SPACE = ("unshare", "--map-root-user", "--mount")
"""A namespace in which anybody may mount."""


def may_mount() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return subprocess.run([*SPACE, "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not may_mount(), reason="no user namespace in which a small disk can be mounted")

RECIPE = """
format = 1
name = "small"
seed = 3
gates = ["sound", "overlap", "golds"]
[stage.base]
kind = "base"
id = "init:0.1m"
[stage.prepare]
kind = "prepare"
domain = "algebra"
max_problems = 12
probe_size = 2
val_size = 2
test_size = 4
"""

PYTHON = f"{sys.executable} -m posttrain"
FILLED = "dd if=/dev/zero of=filler bs=4k 2>/dev/null; truncate -s -{room} filler"


def script(folder: Path, *lines: str, size: str = "8m") -> list[tuple[int, str, str]]:
    """Run lines of shell on a small disk, the recipe on it; exit code, stdout and stderr of each that is a command."""
    (folder / "small.toml").write_text(RECIPE)
    (folder / "disk").mkdir()
    said = [f"mount -t tmpfs -o size={size} none disk", "cp small.toml disk", "cd disk"]
    for number, line in enumerate(lines):
        said.append(f"{line} >../{number}.out 2>../{number}.err; echo $? >../{number}.code")
    subprocess.run([*SPACE, "sh", "-c", "\n".join(said)], cwd=folder, check=True, timeout=300)
    names = [folder / str(number) for number in range(len(lines))]
    codes = [int(name.with_suffix(".code").read_text()) for name in names]
    texts = [[name.with_suffix(suffix).read_text() for suffix in (".out", ".err")] for name in names]
    return [(code, *text) for code, text in zip(codes, texts, strict=True)]


RUN = f"{PYTHON} run small.toml --run run"


def test_a_full_disk(tmp_path: Path) -> None:
    """S-A8: exit 4 and a paragraph; what was finished is whole; with room the same command ends the work."""
    first, _, full, whole, _, again, kept = script(
        tmp_path,
        f"{RUN} --until prepare",
        FILLED.format(room="60k"),
        RUN,
        f"{PYTHON} verify run",
        "rm filler",
        RUN,
        f"{PYTHON} plan small.toml --run run --json",
    )
    assert (first[0], full[0], whole[0], again[0]) == (0, 4, 0, 0), (first, full, whole, again)
    said = full[1] + full[2]
    assert "No space left on device" in said and "Free space" in said and "Traceback" not in said
    assert {one["action"] for one in json.loads(kept[1])["decisions"]} == {"keep"}


def test_a_disk_that_is_read_only(tmp_path: Path) -> None:
    """S-A8: planned and shown as ever; to run is exit 4; written again, the same command goes on."""
    lines = [f"{RUN} --until prepare", "mount -o remount,ro disk ../disk"]
    lines += [f"{PYTHON} {verb}" for verb in ("plan small.toml --run run", "status run", "verify run")]
    lines += [RUN, f"{PYTHON} report run", "mount -o remount,rw disk ../disk", RUN]
    first, _, *reads, refused, report, _, again = script(tmp_path, *lines)
    assert [told[0] for told in (first, *reads, again)] == [0] * 5, (first, reads, again)
    for code, out, err in (refused, report):
        assert (code, out) == (4, "")
        assert "the disk refuses (Read-only file system).  Free space, or use a folder" in err
        assert "Traceback" not in err


def test_a_store_that_is_read_only(tmp_path: Path) -> None:
    """S-A8: the run's folder can be written, the store elsewhere cannot: what is made is kept, the rest is exit 4."""
    store = f"{PYTHON} run small.toml --run ../run --store store"
    lines = [f"{store} --until prepare", "mount -o remount,ro disk ../disk", f"{store} --until prepare", store]
    first, _, kept, refused, _, again = script(tmp_path, *lines, "mount -o remount,rw disk ../disk", store)
    assert [told[0] for told in (first, kept, refused, again)] == [0, 0, 4, 0], (first, kept, refused, again)
    assert "Read-only file system" in refused[1] + refused[2]
    assert "Traceback" not in refused[1] + refused[2]


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """S-A8: a limit of the system is told like a full disk; a quota takes the same way."""
    limited, again = script(tmp_path, f"(ulimit -f 12; {RUN} --until prepare)", f"{RUN} --until prepare")
    assert (limited[0], again[0]) == (4, 0), (limited, again)
    assert "File too large" in limited[1] + limited[2] and "Traceback" not in limited[1] + limited[2]


@pytest.mark.nightly
def test_a_disk_that_fills_at_any_point(tmp_path: Path) -> None:
    """S-A8: whatever write is refused, the ledger stays whole and the run ends with the bytes of one that had room."""
    room = [0, 1, 2, 3, 5, 7, 9, 12, 16, 500]
    words = [*SPACE, sys.executable, "-m", "store.cramped", str(tmp_path), *map(str, room)]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["free"] for one in told] == room
    assert (told[0]["code"], told[-1]["code"]) == (4, 0)
    for one in told:
        assert one["code"] in (0, 4) and (one["code"] == 0 or "No space left on device" in one["said"]), one
        assert (one["again"], one["kept"], one["damages"], one["unread"]) == (0, True, 0, ""), one
        assert one["digests"] == told[-1]["digests"]
