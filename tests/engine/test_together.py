"""Several runs in one store: an artifact is made once, whoever waits says for whom, a killed maker is succeeded."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.together import MIDDLE
from posttrain.store import ledger
from posttrain.store.run import at

RECIPE = """
format = 1
name = "slow"
seed = 7
[stage.first]
kind = "make"
steps = {steps}
[stage.{last}]
kind = "pass"
inputs = {{ one = "first" }}
text = "{last}"
steps = 2
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a run of the recipe in a folder, on the shared store."""
    begun: list[subprocess.Popen[str]] = []
    paths = os.pathsep.join(path for path in sys.path if path)

    environment = {**os.environ, "PYTHONPATH": paths, "GO": str(tmp_path / "go")}

    def go(run: str, *, last: str = "last", store: str = "store", steps: int = 60) -> subprocess.Popen[str]:
        recipe = tmp_path / f"{run}.toml"
        recipe.write_text(RECIPE.format(last=last, steps=steps))
        words = [sys.executable, "-m", "engine.together", recipe, tmp_path / run, tmp_path / store]
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=environment)
        begun.append(process)
        return process

    yield go
    for process in begun:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def records(folder: Path, event: str, node: str = "first") -> list[dict[str, Any]]:
    return [record for record in ledger.read(folder / "ledger.jsonl", (event,)) if record.get("node") == node]


def until(process: subprocess.Popen[str], met: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not met():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def steps(folder: Path) -> list[int]:
    return [record["metrics"]["step"] for record in records(folder, "step")]


def digest(folder: Path, node: str) -> str:
    return json.loads((at(folder).pointer(node) / "manifest.json").read_text())["digest"]


def waits(folder: Path) -> list[str]:
    return [record["text"] for record in records(folder, "note") if record["kind"] == "waits"]


def test_the_second_waits_says_for_whom_and_takes_what_was_made(start: Start, tmp_path: Path) -> None:
    """S-A19: two recipes that begin alike share that artifact; it is made once."""
    one, two = tmp_path / "one", tmp_path / "two"
    first = start("one")
    until(first, lambda: len(steps(one)) > MIDDLE)
    second = start("two", last="other")
    until(second, lambda: waits(two))
    (tmp_path / "go").touch()
    assert (ended(first)["code"], ended(second)["code"]) == (0, 0)
    assert (steps(one), steps(two)) == (list(range(60)), []), "only the first made it"
    (said,) = waits(two)
    assert said.endswith(f" on {socket.gethostname()} is making the same artifact")
    pid = int(said.split()[1])
    assert pid not in (first.pid, second.pid), "the process named is the one that works the node"
    assert digest(one, "first") == digest(two, "first")
    assert at(one).current("first") == at(two).current("first")
    assert len(list((tmp_path / "store" / "artifacts").iterdir())) == 3
    assert not any((tmp_path / "store" / "locks").iterdir())


def test_a_killed_maker_is_succeeded_where_it_stopped(start: Start, tmp_path: Path) -> None:
    """S-A19, S-A7: kill -9 while another waits: it takes over, goes on from the scratch, and ends with equal bytes."""
    one, two, calm = tmp_path / "one", tmp_path / "two", tmp_path / "calm"
    whole = start("calm", store="elsewhere")
    first = start("one")
    until(first, lambda: len(steps(one)) > MIDDLE)
    second = start("two")
    until(second, lambda: waits(two))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    (tmp_path / "go").touch()
    assert ended(second)["code"] == 0
    assert (steps(one), steps(two)) == (list(range(MIDDLE + 1)), list(range(MIDDLE + 1, 60)))
    assert ended(whole)["code"] == 0
    assert (digest(two, "first"), digest(two, "last")) == (digest(calm, "first"), digest(calm, "last"))
    assert not (tmp_path / "store" / "scratch").exists() or not any((tmp_path / "store" / "scratch").iterdir())
    again = start("one")
    assert ended(again)["fates"] == {"first": "kept", "last": "kept"}


def test_one_folder_has_one_driver(start: Start, tmp_path: Path) -> None:
    """S-A19: a second run in the same folder is told pid and host, at once, and the first goes on."""
    first = start("one")
    until(first, lambda: steps(tmp_path / "one"))
    second = start("one")
    _, err = second.communicate(timeout=60)
    assert second.returncode != 0
    assert f"this run is in use by process {first.pid} on {socket.gethostname()}" in err
    assert "Wait for it, or give this run another folder with --run." in err
    (tmp_path / "go").touch()
    assert ended(first)["code"] == 0
