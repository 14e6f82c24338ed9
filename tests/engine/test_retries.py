"""Attempts at a node: how many, after what rest, what is kept of each; and what a run keeps when its worker dies."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine import toy_kinds
from engine.toy_kinds import TOYS, Bed
from posttrain import api
from posttrain.engine import run as driving
from posttrain.engine.local import LocalExecutor, Patience
from posttrain.engine.run import Finished, rest
from posttrain.store import ledger


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "SHORTEST_WAIT", 0.01)


def run(bed: Bed, *sets: str, work: str = "engine.toy_kinds:work", **more: Any) -> Finished:
    hands = LocalExecutor(work, warm=(), patience=Patience(grace=0.3))
    return api.run(bed.asked(*sets, **more), kinds=TOYS, executor=hands)


def troubled(root: Path, lines: str) -> Bed:
    return Bed(root, toy_kinds.RECIPE.replace("[stage.fuse]", f"[stage.fuse]\n{lines}"))


def told(bed: Bed, event: str) -> list[Mapping[str, Any]]:
    records = ledger.read(bed.folder / "ledger.jsonl")
    return [record for record in records if record["event"] == event and record.get("node") == "fuse"]


def test_rests_double_up_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "SHORTEST_WAIT", 1.0)
    assert [rest(attempt) for attempt in (1, 2, 3, 7, 4000)] == [1, 2, 4, 60, 60]


def test_each_attempt_is_on_record_and_in_the_log(tmp_path: Path) -> None:
    bed = troubled(tmp_path, 'trouble = "flaky"\nretries = 3')
    assert run(bed).code == 0
    assert [record["attempt"] for record in told(bed, "node_started")] == [1, 2]
    assert [(record["attempt"], record["again"]) for record in told(bed, "node_failed")] == [(1, True)]
    log = (bed.folder / "logs" / "fuse.log").read_text()
    first, second = log.index("== fuse, attempt 1, process "), log.index("== fuse, attempt 2, process ")
    assert first < log.index("not at the first try") < second


def test_retries_are_bounded(tmp_path: Path) -> None:
    bed = troubled(tmp_path, 'trouble = "crash"\nretries = 2')
    assert run(bed).code == 7
    assert [(record["attempt"], record["again"]) for record in told(bed, "node_failed")] == [
        (1, True),
        (2, True),
        (3, False),
    ]


def test_a_timeout_is_tried_again(tmp_path: Path) -> None:
    """C-S4: exit 8; the error on record names limit and culprit; what depends on it is not run; the rest is kept."""
    bed = troubled(tmp_path, 'trouble = "hang"\ntimeout = 0.5\nretries = 1')
    result = run(bed)
    assert result.code == 8
    failed = told(bed, "node_failed")
    assert [record["attempt"] for record in failed] == [1, 2]
    for record in failed:
        assert record["what"].startswith("it ran past its timeout of 0.5 s. It stood in engine/toy_kinds.py:")
        assert "_trouble ← engine/toy_kinds.py:" in record["what"]
        assert record["what"].endswith("(a fork of it) alive.")
    assert result.fates["exam"] == "blocked"
    assert result.fates["train/algebra"] == "ran"
    assert api.run(bed.asked("stage.fuse.trouble="), kinds=TOYS, executor=toy_kinds.forked()).code == 0


@pytest.mark.parametrize(("trouble", "code"), [("usage", 2), ("need", 4), ("budget", 5), ("mismatch", 6)])
def test_what_another_attempt_cannot_mend_is_not_tried_again(tmp_path: Path, trouble: str, code: int) -> None:
    bed = troubled(tmp_path, f'trouble = "{trouble}"\nretries = 3')
    assert run(bed).code == code
    assert len(told(bed, "node_started")) == 1


def work(run: str, node: str, **options: Any) -> dict[str, str]:
    """Work a toy; the first attempt at `fuse` kills the worker."""
    mark = Path(run) / "killed"
    if node == "fuse" and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
    return toy_kinds.work(run, node, **options)


@pytest.mark.parametrize("retries", [0, 1])
def test_a_killed_worker_is_an_error_and_no_loss(tmp_path: Path, retries: int) -> None:
    """Exit 7, and the same command goes on; with retries a fresh worker does."""
    bed = troubled(tmp_path, f"steps = 3\nretries = {retries}")
    result = run(bed, work="engine.test_retries:work")
    assert "the worker process died (signal SIGKILL)" in told(bed, "node_failed")[0]["what"]
    if not retries:
        assert result.code == 7
        result = run(bed, work="engine.test_retries:work")
        assert [id for id, fate in result.fates.items() if fate == "ran"] == ["fuse", "exam"]
    assert result.code == 0
    assert len(told(bed, "node_started")) == 2


def test_one_failure_does_not_stop_what_depends_on_others(tmp_path: Path) -> None:
    """S-A16: side by side, one failing node keeps the others' work, and their dependants go on."""
    more = '[stage.other]\nkind = "make"\nwait_s = 0.4\n[stage.after]\nkind = "pass"\ninputs = { one = "other" }\n'
    bed = Bed(tmp_path, toy_kinds.RECIPE + more)
    result = run(bed, "stage.prepare.trouble=crash", jobs=3)
    assert result.code == 7
    assert {id: fate for id, fate in result.fates.items() if fate == "ran"} == {"other": "ran", "after": "ran"}
    assert result.fates["train/algebra"] == "blocked"


def hungry(run: str, node: str, **options: Any) -> dict[str, str]:
    """Work a toy; `fuse` needs half a gigabyte for it."""
    held = bytearray(512 << 20) if node == "fuse" else b""
    made = toy_kinds.work(run, node, **options)
    del held
    return made


def test_a_limit_of_a_recipe_reaches_the_node(tmp_path: Path) -> None:
    """Memory that runs out is exit 7 with the limit in the error; what is finished is kept."""
    bed = troubled(tmp_path, 'resources = { memory = "100MiB" }')
    result = run(bed, work="engine.test_retries:hungry")
    assert result.code == 7
    (failure,) = result.failures
    assert "its limit (`resources.memory`) is 100 MiB" in failure.error.what
    assert result.fates["train/geometry"] == "ran"
    again = run(bed, "stage.fuse.resources.memory=2GiB", work="engine.test_retries:hungry")
    assert (again.code, [id for id, fate in again.fates.items() if fate == "ran"]) == (0, ["fuse", "exam"])
