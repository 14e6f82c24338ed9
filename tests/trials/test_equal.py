"""Two runs held against each other: nothing differs of equal ones, and every planted difference is named."""

import json
import shutil

import pytest

from engine.toy_kinds import Bed
from posttrain.store.run import Run, at
from posttrain.trials import equal

RECIPE = """
format = 1
name = "toys"
seed = 7

[stage.prepare]
kind = "make"
steps = 2
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    bed = Bed(tmp_path_factory.mktemp("toys"), RECIPE)
    bed.run()
    return at(bed.folder)


@pytest.fixture
def copy(run, tmp_path) -> Run:
    shutil.copytree(run.folder, tmp_path / "copy", symlinks=True)
    return at(tmp_path / "copy")


def told(run: Run, event: str) -> dict:
    records = [json.loads(line) for line in run.ledger.read_text().splitlines()]
    return next(record for record in records if record["event"] == event)


def append(run: Run, record: dict) -> None:
    with run.ledger.open("a") as file:
        file.write(json.dumps(record) + "\n")


def test_a_copy_does_not_differ(run, copy):
    assert equal.differences(run, copy) == ()
    assert equal.torn(copy) == 0


def test_a_changed_byte_is_named_and_its_digest_recomputed(run, copy):
    """S-A7: every byte of every file is compared, and every digest is recomputed."""
    path = copy.pointer("prepare") / "out.json"
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    found = equal.differences(run, copy)
    assert "prepare: out.json differs" in found
    assert any("out.json has changed" in said for said in found)


def test_a_missing_node_and_one_too_many(run, copy):
    copy.pointer("prepare").rename(copy.nodes / "other")
    found = equal.differences(run, copy)
    assert {"prepare is missing", "other is one too many"} <= set(found)


def test_what_is_left_behind_is_named(run, copy):
    """S-A7: scratch, locks and half-made names that no undisturbed run has."""
    (copy.store.scratch("f" * 8) / "work").mkdir(parents=True)
    copy.lock.touch()
    found = equal.differences(run, copy)
    assert {"lock was left behind", "scratch/ffffffff was left behind"} <= set(found)


def test_a_view_with_other_bytes_is_named(run, copy, tmp_path):
    shutil.copytree(run.folder, tmp_path / "calm", symlinks=True)
    for folder, text in ((tmp_path / "calm", "1"), (copy.folder, "2")):
        (folder / "results").mkdir()
        (folder / "results" / "scores.json").write_text(text)
    assert equal.differences(at(tmp_path / "calm"), copy) == ("results/scores.json differs",)


def test_another_verdict_another_step_and_another_digest_are_named(run, copy):
    """S-A7: verdicts, told steps, and an artifact that was made twice with different bytes."""
    append(copy, {**told(run, "verdict"), "value": "fail"})
    append(copy, {**told(run, "step"), "metrics": {"step": 0, "loss": 7.0}})
    append(copy, {**told(run, "node_finished"), "digest": "0" * 64})
    assert equal.differences(run, copy) == (
        "the verdict of good at prepare differs",
        "what was told of prepare step 0 differs",
        "prepare was made twice, with different bytes",
    )


def test_a_cut_line_is_counted(copy: Run):
    with copy.ledger.open("ab") as file:
        file.write(b'{"t": 1, "event": "st')
    assert equal.torn(copy) == 1


def test_a_changed_manifest_is_a_difference(run, copy):
    place = copy.pointer("prepare") / "manifest.json"
    held = json.loads(place.read_text())
    place.write_text(json.dumps({**held, "metrics": {}}))
    assert any("manifest.json has changed" in said for said in equal.differences(run, copy))
