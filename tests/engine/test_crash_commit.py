"""Killed before every single file operation of a whole run: driver, commit, pointer, locks; then the same command."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crash_points import Crash, crashes, restore, surviving
from engine.toy_kinds import TOYS, Bed
from posttrain import api
from posttrain.engine.environment import record_conditions
from posttrain.spec.knobs import Resources
from posttrain.store import ledger
from posttrain.store.run import at

RECIPE = """
format = 1
name = "toys"
seed = 7

[stage.prepare]
kind = "make"
steps = 2

[stage.fuse]
kind = "mix"
inputs = { parts = "prepare" }
"""


class Scanned:
    """A folder's entries in an order of our own."""

    def __init__(self, entries: list[Any]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[Any]:
        return self._entries

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> Iterator[Any]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


@pytest.fixture(params=["forward", "backward"])
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are read, and so cleared away, in order of name or against it: a file system may have any order."""
    scan = os.scandir

    def scanned(*place: Any) -> Scanned:
        with scan(*place) as entries:
            return Scanned(sorted(entries, key=lambda entry: entry.name, reverse=request.param == "backward"))

    monkeypatch.setattr(os, "scandir", scanned)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def state(bed: Bed) -> tuple[dict[str, str], dict[str, tuple[str, ...]], list[str]]:
    return bed.digests(), dict(api.verify(bed.folder)), names(bed.folder)


def wrong(bed: Bed, found: list[Crash], expected: object, **more: tuple[str, ...]) -> list[str]:
    """The crashes after which the same command does not end in the same state; what the ledger held, it holds."""
    bad: list[str] = []
    for crash in found:
        restore(crash, bed.folder)
        before = list(ledger.read(bed.folder / "ledger.jsonl"))
        ended, _ = bed.run(**more)
        assert list(ledger.read(bed.folder / "ledger.jsonl"))[: len(before)] == before
        if ended.code != 0 or state(bed) != expected:
            missing = sorted(set(state(bed)[2]) ^ set(expected[2]))  # pyright: ignore[reportIndexIssue]
            bad.append(f"{crash.name}: {missing}")
    return bad


def test_a_run_after_every_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """S-A7: after a crash at any file operation the same command ends in the same bytes, and leaves nothing behind."""
    bed = Bed(tmp_path, RECIPE)
    found = surviving(crashes(bed.folder, bed.run, monkeypatch), without="logs")
    assert len(found) > 40
    assert not wrong(bed, [crash for crash in found if "power" not in crash.name], state(bed))


def test_making_again_after_every_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """S-A7: the same where an artifact that is there is made again and replaced."""
    bed = Bed(tmp_path, RECIPE)
    bed.run()
    expected = state(bed)
    found = surviving(crashes(bed.folder, lambda: bed.run(again=("prepare",)), monkeypatch), without="logs")
    found = [crash for crash in found if "power" not in crash.name]
    assert len(found) > 20
    assert not wrong(bed, found, expected, again=("prepare",))
    assert not wrong(bed, found, expected), "the same holds when it is not asked for again"


@pytest.mark.usefixtures("order")
def test_making_again_what_was_just_made_after_every_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """S-A7: asked for again after a crash in the clearing away of what it was made from: half of that is not used."""
    bed = Bed(tmp_path, RECIPE)
    found = surviving(crashes(bed.folder, bed.run, monkeypatch), without="logs")
    expected = state(bed)
    found = [crash for crash in found if "power" not in crash.name and any("artifacts/" in key for key in crash.image)]
    assert len(found) > 20
    assert not wrong(bed, found, expected, again=("prepare",))


@pytest.mark.usefixtures("order")
def test_other_resources_after_every_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """S-A7: work thrown away because resources changed is thrown away whole, even for who goes back to the old ones."""
    bed = Bed(tmp_path, RECIPE)
    begun = crashes(bed.folder, bed.run, monkeypatch)
    expected = state(bed)
    begun = [crash for crash in begun if "half" not in crash.name and not any("artifacts/" in k for k in crash.image)]
    restore(begun[-1], bed.folder)
    found = crashes(bed.folder, lambda: bed.run("resources.cpus=2"), monkeypatch)
    found = [crash for crash in found if not any("artifacts/" in key for key in crash.image)]
    assert len(found) > 10
    assert not wrong(bed, found, expected)


def test_a_plan_says_of_work_whether_there_is_any_to_go_on_with(tmp_path: Path):
    """S-A7: "goes on where it was stopped" is said of work that is there, and not of an attempt that left none."""
    bed = Bed(tmp_path, RECIPE)
    bed.run()
    mark = at(bed.folder).current("prepare")
    work = at(bed.folder).store.work(str(mark))
    (work / "rows").mkdir(parents=True)
    record_conditions(at(bed.folder).store.conditions(str(mark)), Resources())
    for told in ((), ("goes on where it was stopped",)):
        planned = api.plan(bed.asked(again=("prepare",)), kinds=TOYS)
        assert planned.plan.decisions["prepare"].reasons == ("asked for", *told)
        (work / "rows" / "000").touch()
