"""Unfinished work goes on under the resources it was begun under; under others it starts anew and says so."""

import json
from pathlib import Path

import pytest

from engine.spenders import SPENDERS
from engine.test_budget import Bed
from posttrain import api
from posttrain.engine.environment import anew, conditions, record_conditions
from posttrain.spec.knobs import Resources
from posttrain.store.account import Spent

CUT = "stage.first.budget.tokens=450"
MORE = "stage.first.budget.tokens=5000"


@pytest.fixture
def cut(tmp_path: Path) -> Bed:
    """A run whose first node was stopped after four of ten steps."""
    bed = Bed(tmp_path)
    assert bed.run(CUT, only=("first",)).code == 5
    assert steps(bed) == [0, 1, 2, 3]
    return bed


def steps(bed: Bed) -> list[int]:
    return [record["metrics"]["step"] for record in bed.events("step")]


def reasons(bed: Bed, *sets: str) -> tuple[str, ...]:
    return api.plan(bed.asked(*sets, only=("first",)), kinds=SPENDERS).plan.decisions["first"].reasons


def begun(bed: Bed) -> Path:
    (record,) = (bed.folder / "scratch").glob("*/conditions.json")
    return record


def test_equal_resources_go_on(cut: Bed) -> None:
    """S-A7: the plan says it and the run does it."""
    assert reasons(cut) == ("nothing made yet", "goes on where it was stopped")
    assert cut.run(MORE, only=("first",)).code == 0
    assert steps(cut) == list(range(10)) and not cut.events("note")
    assert cut.spent == Spent(1000)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("resources.cpus=2", "cpus 1 → 2"),
        ("resources.compute=fp32", "compute auto → fp32"),
        ("stage.first.resources.device=mps", "device {device} → mps"),
        ("resources.sandbox=none", "programs run → computed"),
    ],
)
def test_other_resources_start_anew_and_say_so(cut: Bed, change: str, said: str) -> None:
    said = said.format(device=conditions(Resources())["device"])
    assert reasons(cut, change)[-1] == f"starts anew: {said}"
    assert cut.run(MORE, change, only=("first",)).code == 0
    assert steps(cut) == [0, 1, 2, 3, *range(10)]
    (note,) = cut.events("note")
    assert (note["node"], note["kind"], note["text"]) == ("first", "anew", f"starts anew: {said}")
    assert cut.spent == Spent(1400), "what was spent before stays spent"
    assert api.show(cut.folder / "first").manifest.measured["attempts"] == 2


def test_resources_of_no_weight_for_bits_go_on(cut: Bed) -> None:
    """How long, how often and how much memory a node may take changes no bit, nor at which level programs run."""
    sets = ("stage.first.timeout=100", "stage.first.retries=2", "resources.memory=2GiB", "resources.sandbox=L3")
    assert reasons(cut, *sets)[-1] == "goes on where it was stopped"


def test_another_machine_or_torch_starts_anew(cut: Bed) -> None:
    told = json.loads(begun(cut).read_text())
    begun(cut).write_text(json.dumps(told | {"torch": "1.0", "processor": "abacus"}))
    now = conditions(Resources())
    assert reasons(cut)[-1] == f"starts anew: torch 1.0 → {now['torch']}, processor abacus → {now['processor']}"


@pytest.mark.parametrize("text", ["", "[]", "null", "{"])
def test_work_without_a_record_is_not_trusted(cut: Bed, text: str) -> None:
    begun(cut).write_text(text)
    assert reasons(cut)[-1] == "starts anew: under which resources it was begun is not on record"
    begun(cut).unlink()
    assert reasons(cut)[-1] == "starts anew: under which resources it was begun is not on record"
    assert cut.run(MORE, only=("first",)).code == 0 and steps(cut) == [0, 1, 2, 3, *range(10)]


def test_a_record_is_compared_key_by_key(tmp_path: Path) -> None:
    record = tmp_path / "deep" / "conditions.json"
    record_conditions(record, Resources(cpus=2))
    assert anew(record, Resources(cpus=2)) == "" and anew(record, Resources(cpus=1)) == "cpus 2 → 1"
    assert {*conditions(Resources())} == {"device", "cpus", "compute", "programs", "torch", "machine", "processor"}
