"""A frozen stage: made once, then every change is refused until `--again` names it."""

import shutil
from pathlib import Path

import pytest

from engine.toy_kinds import RECIPE, TOYS, Bed
from posttrain import api
from posttrain.cli.plans import plan_code

FROZEN = RECIPE.replace('[stage.train]\nkind = "mix"', '[stage.train]\nkind = "mix"\nfrozen = true')


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path, FROZEN)


def test_it_is_made_once_and_kept_says_so(bed: Bed) -> None:
    result, worked = bed.run()
    assert result.code == 0 and "train/algebra" in worked
    planned = api.plan(bed.asked(), kinds=TOYS).plan.decisions
    assert planned["train/algebra"].reasons == ("nothing changed", "frozen")
    assert planned["fuse"].reasons == ("nothing changed",)


def test_a_change_is_refused_and_named(bed: Bed) -> None:
    bed.run()
    before = bed.digests()
    found = bed.actions("stage.train.k=4")
    said = "frozen, and changed (knob k: 1 → 4): --again train makes it anew"
    assert found["train/algebra"] == ("blocked", said)
    assert found["fuse"] == ("blocked", "train/algebra is blocked")
    planned = api.plan(bed.asked("stage.train.k=4"), kinds=TOYS).plan
    assert planned.decisions["train/algebra"].code == plan_code(planned) == 6
    result, worked = bed.run("stage.train.k=4")
    assert (result.code, worked) == (6, [])
    assert result.failures[0].error.paragraph() == (
        f"train/algebra: {said}.  Take the change back, or give --again train."
    )
    assert bed.digests() == before


def test_a_change_above_it_is_found_when_it_is_reached(bed: Bed) -> None:
    """Other bytes of an input are a change too; equal bytes are none."""
    bed.run()
    assert bed.actions("stage.prepare.text=b")["train/algebra"] == ("maybe", "waits for prepare/algebra")
    result, worked = bed.run("stage.prepare.text=b")
    assert (result.code, worked) == (6, ["prepare/algebra", "prepare/geometry"])
    assert "frozen, and changed (input parts changed (prepare/algebra))" in result.failures[0].error.what


def test_again_makes_it_anew_and_it_is_frozen_from_there(bed: Bed) -> None:
    bed.run()
    assert bed.actions("stage.train.k=4", again=("train",))["train/algebra"] == ("run", "asked for")
    result, worked = bed.run("stage.train.k=4", again=("train",))
    assert result.code == 0 and worked[:2] == ["train/algebra", "train/geometry"]
    assert bed.actions("stage.train.k=4")["train/algebra"][0] == "keep"
    assert bed.actions()["train/algebra"] == (
        "blocked",
        "frozen, and changed (knob k: 4 → 1): --again train makes it anew",
    ), "that the old artifact is still in the store does not make it unchanged"


def test_a_removed_artifact_of_equal_facts_is_made_again(bed: Bed) -> None:
    bed.run()
    shutil.rmtree((bed.folder / "nodes" / "train.algebra").resolve())
    assert bed.actions()["train/algebra"] == ("run", "its artifact was removed")
    assert bed.actions("stage.train.k=2")["train/algebra"][0] == "blocked"


def test_what_was_never_made_is_free(bed: Bed) -> None:
    bed.run(until=("prepare",))
    result, _ = bed.run("stage.train.k=4")
    assert result.code == 0


def test_it_holds_in_its_run_alone(bed: Bed, tmp_path: Path) -> None:
    """Another run on the same store makes its own."""
    store = tmp_path / "store"
    bed.run(store=store)
    other = Bed(tmp_path, FROZEN)
    other.folder = tmp_path / "other"
    result, _ = other.run("stage.train.k=4", store=store)
    assert result.code == 0
