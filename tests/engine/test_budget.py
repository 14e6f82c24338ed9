"""Budgets: the work stops before a cap is passed, says how to go on, and goes on to the same bytes."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine import spenders
from engine.spenders import SPENDERS
from posttrain import api
from posttrain.api import Asked
from posttrain.engine.run import Ended, Finished, Task
from posttrain.spec.errors import Stop
from posttrain.spec.load.views import OWN
from posttrain.store import ledger
from posttrain.store.account import Account, Spent

RECIPE = """
format = 1
name = "spenders"
seed = 7
[stage.first]
kind = "spend"
[stage.second]
kind = "spend"
each = { domain = ["a", "b"] }
parts = "first"
[stage.third]
kind = "spend"
parts = "second"
"""


class Inline:
    """Works every task at once, in this process."""

    def __init__(self) -> None:
        self._ended: list[Ended] = []

    def prepare(self) -> None: ...

    def start(self, task: Task) -> None:
        try:
            spenders.work(*task.args, **task.options)
        except Stop as error:
            self._ended.append(Ended(task.node, error))
        else:
            self._ended.append(Ended(task.node, None))

    def wait(self, seconds: float) -> tuple[Ended, ...]:
        ended, self._ended = tuple(self._ended), []
        return ended

    def close(self) -> None: ...


class Bed:
    """A recipe of spenders in a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.folder, self.recipe = root / "run", root / "spenders.toml"
        self.recipe.write_text(RECIPE)

    def run(self, *sets: str, forked: bool = False, **more: Any) -> Finished:
        hands = spenders.forked() if forked else Inline()
        return api.run(self.asked(*sets, **more), kinds=SPENDERS, executor=hands)

    def asked(self, *sets: str, **more: Any) -> Asked:
        return Asked(self.recipe, run=self.folder, sets=sets, **more)

    @property
    def spent(self) -> Spent:
        return Account(self.folder / "account.json").spent()

    def events(self, event: str) -> list[dict[str, Any]]:
        return [record for record in ledger.read(self.folder / "ledger.jsonl") if record["event"] == event]

    def digests(self) -> dict[str, str]:
        return {node.name: api.show(node).manifest.digest for node in sorted((self.folder / "nodes").iterdir())}


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, str]:
    """What an undisturbed run makes."""
    (tmp_path / "whole").mkdir()
    other = Bed(tmp_path / "whole")
    assert other.run().code == 0
    return other.digests()


def error_of(result: Finished, node: str = "") -> Stop:
    return next(failure.error for failure in result.failures if failure.node == node)


def test_a_token_cap_stops_before_it_is_passed_and_a_higher_one_goes_on(bed: Bed, whole: dict[str, str]) -> None:
    result = bed.run("budget.tokens=1350", jobs=1)
    assert result.code == 5 and bed.spent == Spent(1300)
    assert (result.fates["first"], result.fates["third"]) == ("ran", "blocked")
    assert error_of(result, "second/a").where == "budget.tokens"
    said = "budget.tokens: 1300 of 1350 tokens are spent, and 100 more would pass the cap"
    assert result.decisions["second/b"].reasons == (said,)
    told = error_of(result).paragraph()
    assert told.startswith(f"{said}. The run used ")
    assert " hours, 1300 tokens; 3 of 4 nodes are left: second/a, second/b, third." in told
    assert told.endswith(f"It goes on with: posttrain run {bed.folder}/recipe.json --max-tokens N")
    assert result.resume == f"posttrain run {bed.folder}/recipe.json --max-tokens N"
    again = bed.run("budget.tokens=1399")
    assert again.code == 5 and bed.spent == Spent(1300), "what was spent stays spent"
    assert bed.run("budget.tokens=4000").code == 0
    assert bed.digests() == whole
    assert bed.spent == Spent(4000), "a step that was kept is not paid twice"


def test_what_a_killed_attempt_spent_stays_spent(bed: Bed) -> None:
    """By the run and by the node: eleven steps are paid, ten of them kept."""
    sets = ("stage.first.dies_at=4", "stage.first.retries=1", "stage.first.budget.tokens=1099")
    result = bed.run(*sets, forked=True, only=("first",))
    assert result.code == 5 and bed.spent == Spent(1000)
    assert error_of(result).what.startswith("1000 of 1099 tokens are spent")
    assert bed.run(*sets[:2], "budget.tokens=1100", only=("first",)).code == 0 and bed.spent == Spent(1100)
    assert api.show(bed.folder / "first").manifest.measured["tokens"] == 1100


def test_money_is_counted_to_the_last_digit(bed: Bed) -> None:
    result = bed.run("stage.first.money='0.1'", "budget.money=0.3", only=("first",))
    assert result.code == 5 and bed.spent.money == Decimal("0.3")
    assert "0.3 of 0.3 money are spent, and 0.1 more would pass the cap" in error_of(result).what


def test_a_stage_cap_holds_for_each_node_over_all_attempts(bed: Bed, whole: dict[str, str]) -> None:
    """The other nodes go on; what stands below is blocked."""
    result = bed.run("stage.second.budget.tokens=450")
    assert result.code == 5 and bed.spent == Spent(1000 + 2 * 400)
    assert {result.fates[node] for node in ("second/a", "second/b")} == {"failed"}
    assert error_of(result, "second/b").where == "stage.second.budget.tokens"
    assert result.resume.endswith("recipe.json --set stage.second.budget.tokens=N")
    assert bed.run("stage.second.budget.tokens=450").code == 5 and bed.spent == Spent(1800)
    result = bed.run("stage.second.budget.tokens=1000")
    assert result.code == 0 and bed.digests() == whole and bed.spent == Spent(4000)
    assert api.show(bed.folder / "second/a").manifest.measured["tokens"] == 1000


def test_the_runs_cap_is_named_where_both_are_reached(bed: Bed) -> None:
    result = bed.run("stage.second.budget.tokens=450", "budget.tokens=1500", jobs=1)
    assert error_of(result, "second/a").where == "stage.second.budget.tokens"
    assert error_of(result, "second/b").where == "budget.tokens" == error_of(result).where
    assert bed.spent == Spent(1500) and result.resume.endswith("--max-tokens N")


def test_hours_of_a_run_stop_it_and_the_same_command_goes_on(bed: Bed, whole: dict[str, str]) -> None:
    """A node stops at its next step, keeps it, and nothing more is started."""
    asked = ("budget.hours=0.0004", "stage.first.wait_s=0.01", "stage.second.wait_s=0.4")
    result = bed.run(*asked, forked=True, jobs=1)
    assert result.code == 5
    assert error_of(result).where == "budget.hours" and "the cap of 0.0004 hours is reached" in error_of(result).what
    started = {record["node"] for record in bed.events("node_started")}
    assert "third" not in started and result.fates["third"] == "blocked"
    assert result.resume == f"posttrain run {bed.folder}/recipe.json"
    assert bed.run(*asked[1:], "budget.hours=1", forked=True).code == 0
    assert bed.digests() == whole
    steps = [(record["node"], record["metrics"]["step"]) for record in bed.events("step")]
    assert len(steps) == len(set(steps)), "no step is done twice"


def test_a_node_that_does_not_listen_is_ended_after_a_grace(bed: Bed) -> None:
    started = time.monotonic()
    sets = ("budget.hours=0.0003", "stage.first.wait_s=600", "stage.first.deaf=true")
    result = bed.run(*sets, forked=True, only=("first",))
    assert result.code == 5 and time.monotonic() - started < 60
    assert error_of(result, "first").where == "budget.hours"
    assert result.resume == f"posttrain run {bed.folder}/recipe.json"


def test_a_timeout_of_its_own_is_still_a_timeout(bed: Bed) -> None:
    sets = ("budget.hours=1", "stage.first.timeout=0.5", "stage.first.wait_s=600", "stage.first.deaf=true")
    assert bed.run(*sets, forked=True, only=("first",)).code == 8


@pytest.mark.parametrize(("hours", "step"), [(0.0003, 0.3), (0.0001, 0.1)])
def test_hours_of_a_stage_count_over_attempts(bed: Bed, hours: float, step: float) -> None:
    """Also those that end within a second, between two records of the time."""
    sets = (f"stage.first.budget.hours={hours}", f"stage.first.wait_s={step}")
    result = bed.run(*sets, only=("first",))
    assert result.code == 5 and error_of(result).where == "stage.first.budget.hours"
    before = len(bed.events("step"))
    result = bed.run(*sets, only=("first",))
    assert result.code == 5 and len(bed.events("step")) == before, "there is nothing left for another attempt"
    assert len(bed.events("node_started")) == 1
    assert bed.run("stage.first.wait_s=0.3", "stage.first.budget.hours=1", only=("first",)).code == 0


def test_a_run_that_has_nothing_to_do_needs_no_budget(bed: Bed) -> None:
    assert bed.run().code == 0
    assert bed.run("budget.hours=0.0000001", "budget.tokens=1").code == 0


def test_the_plan_warns_where_an_estimate_is_above_a_cap(bed: Bed) -> None:
    sets = ("budget.hours=2", "budget.tokens=1500", "stage.third.budget.tokens=1", "stage.third.budget.hours=9.5")
    found = api.plan(bed.asked(*sets, until=("first",)), kinds=SPENDERS).warnings
    assert found == ("budget.hours = 2, and 10 are expected.",)
    found = api.plan(bed.asked(*sets), kinds=SPENDERS).warnings
    assert found == (
        "budget.hours = 2, and 40 are expected.",
        "budget.tokens = 1500, and at most 4000 are expected.",
        "third: stage.third.budget.hours = 9.5, and 10 are expected.",
        "third: stage.third.budget.tokens = 1, and at most 1000 are expected.",
    )
    bed.run("budget.tokens=1500")
    assert api.plan(bed.asked(), kinds=SPENDERS).warnings == ()
    found = api.plan(bed.asked("budget.tokens=4000"), kinds=SPENDERS).warnings
    assert found == ("budget.tokens = 4000, and at most 3000 are expected after the 1500 that are spent.",)


def test_no_view_can_fall_on_anything_that_a_run_leaves(bed: Bed, tmp_path: Path) -> None:
    """`OWN` names every file that posttrain keeps in the folder of a run or of a store."""
    bed.run("budget.tokens=1350", store=tmp_path / "store")
    api.report(bed.folder)
    kept = {path.name for folder in (bed.folder, tmp_path / "store") for path in folder.iterdir()}
    assert kept <= {*OWN} and {"account.json", "store", "nodes", "scratch", "artifacts"} <= kept
