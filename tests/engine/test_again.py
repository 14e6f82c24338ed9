"""gate: a run judged again from saved rows alone, and waivers on its record."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.exams import KINDS, RECIPE, Exam, ExamKinds, Room, measure, reasons, said
from posttrain import api
from posttrain.reports.read import read
from posttrain.reports.story import outcome
from posttrain.spec.errors import MissingNeed, RecipeError, StageFailed, Stop, UsageError
from posttrain.spec.gate import Metric
from posttrain.spec.stage import Artifact
from posttrain.spec.waiver import Waiver, asked, today
from posttrain.store.ledger import Ledger
from posttrain.store.lock import Lock

LATER = str(today() + timedelta(days=30))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path)
    assert made.examine()[0] == 0
    return made


def waiver(gate: str) -> Waiver:
    return asked(gate, by="Ada", because="we know", reason="experiment", until=LATER)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted((folder / "artifacts").rglob("*")) if p.is_file()}


def test_a_run_is_judged_from_its_rows_and_nothing_is_run_or_written(room: Room) -> None:
    """C-S1: gate runs alone, with the verdicts and the code of the run."""
    before = snapshot(room.folder)
    judged = room.gate()
    assert (judged.code, set(said(judged.verdicts).values())) == (0, {"pass"})
    assert (judged.unjudged, judged.mismatches, judged.remarks) == ({}, {}, ())
    assert snapshot(room.folder) == before
    (event,) = room.events("judged")
    assert (event["code"], event["sets"], len(event["verdicts"])) == (0, [], 3)


def test_another_threshold_needs_no_run_and_leaves_the_runs_own_verdicts(room: Room) -> None:
    """C-S1: the threshold is settable without a re-run; 97/100 against 0.98 is a fail, exit 1."""
    judged = room.gate("stage.exam.gate.passes.at_least=0.98")
    assert judged.code == 1 and "rate is 97/100 and must be 0.98 or more" in reasons(judged)
    assert said(judged.verdicts)["after.passes"] == "not_run", "a pass stands on passes"
    assert room.gate("stage.exam.gate.passes.at_least=0.97").code == 0
    view = read(room.folder)
    assert view.exit_code == 0 and {verdict.value for verdict in view.verdicts} == {"pass"}
    assert view.rejudged is not None and view.rejudged.sets == ("stage.exam.gate.passes.at_least=0.97",)
    assert [event["code"] for event in room.events("judged")] == [1, 0]
    room.gate()
    assert read(room.folder).rejudged is None


@pytest.mark.parametrize(
    "said_",
    ["stage.exam.right=5", "seed=4", "stage.exam.gate.passes=1", "stage.exam", "gates=[]", "stage.exam.off=true"],
)
def test_nothing_but_gates_can_be_changed(room: Room, said_: str) -> None:
    with pytest.raises(UsageError, match="posttrain run"):
        room.gate(said_)


def test_a_threshold_that_is_none_is_refused_like_a_recipe(room: Room) -> None:
    with pytest.raises(RecipeError, match="passses"):
        room.gate("stage.exam.gate.passses.at_least=0.9")
    with pytest.raises(RecipeError, match="at_leats"):
        room.gate("stage.exam.gate.passes.at_leats=0.9")
    for endless in ("1e9999999", "nan", "inf"):
        with pytest.raises(RecipeError, match="at_least"):
            room.gate(f"stage.exam.gate.passes.at_least={endless}")


@pytest.mark.parametrize("name", ["passes", "exam.passes", "after.passes"])
def test_one_gate_alone_stands_on_all_above_it(room: Room, name: str) -> None:
    judged = room.gate("stage.model.gate.good.at_least=2", only=(name,))
    assert set(said(judged.verdicts).values()) == {"not_run"} and judged.code == 3
    assert "gate good of model is fail" in reasons(judged)
    judged = room.gate(only=(name,))
    assert judged.code == 0 and {verdict.gate for verdict in judged.verdicts} == {"passes"}
    assert len(read(room.folder).verdicts) == 3


def test_a_gate_that_is_not_there_is_answered_with_the_nearest(room: Room) -> None:
    with pytest.raises(UsageError, match=r'no gate "exam.pases".*Did you mean "exam.passes"'):
        room.gate(only=("exam.pases",))
    with pytest.raises(UsageError, match="Did you mean"):
        api.waive(room.folder, waiver("pases"), kinds=KINDS)


def test_a_changed_file_is_a_mismatch_and_what_reads_it_is_not_judged(room: Room) -> None:
    """Exit 6 names the file; gates of the node and below are not_run."""
    path = (room.folder / "nodes" / "model").resolve() / "out.json"
    path.write_text("{}")
    judged = room.gate()
    assert judged.code == 6 and "out.json has changed" in judged.mismatches["model"].what
    assert set(said(judged.verdicts).values()) == {"not_run"}
    assert judged.unjudged["exam"] == "exam reads model, which has a mismatch"


def test_a_metric_in_the_manifest_that_the_rows_do_not_give_is_a_mismatch(room: Room) -> None:
    """A number that the rows do not give is named beside the one they give, in value, count or absence."""

    def drifted(artifact: Any, knobs: Any) -> dict[str, Metric]:
        return {**measure(artifact, knobs), "rate": Metric(0.5, k=50, n=100)}

    judged = api.judge(room.folder, kinds=ExamKinds(drifted))
    assert judged.code == 6
    assert judged.mismatches["exam"].what == "the manifest has rate 0.97 (97/100), the rows give 0.5 (50/100)."
    more = api.judge(room.folder, kinds=ExamKinds(lambda a, k: {**measure(a, k), "new": Metric(1)}))
    assert "has new nothing, the rows give 1" in more.mismatches["exam"].what
    less = api.judge(room.folder, kinds=ExamKinds(lambda a, k: {"rate": measure(a, k)["rate"]}))
    assert "rows give nothing" in less.mismatches["exam"].what
    near = ExamKinds(lambda a, k: {**measure(a, k), "letters": Metric(5 * (1 + 1e-12))})
    assert api.judge(room.folder, kinds=near).code == 0, "another machine's last digit is no other number"


def test_what_the_kind_measures_does_not_come_from_the_manifest(room: Room) -> None:
    """A kind that hands the sealed numbers back gets none."""
    judged = api.judge(room.folder, kinds=ExamKinds(lambda artifact, knobs: artifact.metrics))
    assert judged.code == 6 and "the rows give nothing" in judged.mismatches["exam"].what


def test_a_node_that_no_longer_fits_the_recipe_is_stale(room: Room) -> None:
    """A run that changed a knob and was stopped before the work leaves old rows: they prove nothing now."""
    recipe = json.loads((room.folder / "recipe.json").read_text())
    recipe["stage"]["exam"]["right"] = 99
    (room.folder / "recipe.json").write_text(json.dumps(recipe))
    judged = room.gate()
    assert judged.unjudged == {"exam": "exam is stale: knob right: 97 → 99"}
    assert said(judged.verdicts)["exam.passes"] == "not_run" and judged.code == 3
    recipe["stage"]["model"]["text"] = "b"
    (room.folder / "recipe.json").write_text(json.dumps(recipe))
    judged = room.gate()
    assert judged.unjudged["model"] == "model is stale: knob text: a → b"
    assert judged.unjudged["after"] == "after reads model, which is not judged"


def test_a_node_without_artifact_is_not_run(room: Room) -> None:
    shutil.rmtree((room.folder / "nodes" / "after").resolve())
    judged = room.gate()
    assert judged.code == 3 and judged.unjudged == {"after": "the artifact of after was removed"}


def test_what_no_run_was_to_make_is_left_out(tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert room.examine(until=("exam",))[0] == 0
    judged = room.gate()
    assert judged.code == 0 and "after.passes" not in said(judged.verdicts)


def test_a_folder_of_the_users_that_has_gone_leaves_its_reader_unjudged(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for name in ("rows.jsonl", "out.json"):
        (given / name).write_text("{}\n")
    room = Room(
        tmp_path, RECIPE.replace('kind = "make"', f'kind = "make"\ninputs = {{ parts = {{ path = "{given}" }} }}')
    )
    room.sets = ("stage.model.constant=true",)
    finished, _ = room.run(kinds=KINDS)
    shutil.rmtree(given)
    judged = room.gate()
    assert judged.unjudged["model"].startswith("model is stale: ") and judged.code == 3
    assert finished is not None


def test_while_a_run_is_driven_it_is_not_judged(room: Room) -> None:
    held = Lock(room.folder / "lock")
    assert held.take() is None
    try:
        with pytest.raises(UsageError, match="in use by process"):
            room.gate()
        api.plan(room.asked(), kinds=KINDS)
    finally:
        held.release()


def test_a_waiver_lets_a_run_end_well_and_is_told_everywhere(tmp_path: Path) -> None:
    """The gate still fails, what waits for it runs and passes, exit 0, never an unqualified pass."""
    room = Room(tmp_path)
    room.sets = ("stage.exam.right=90",)
    code, verdicts = room.examine()
    assert (code, verdicts) == (1, {"model.good": "pass", "exam.passes": "fail", "after.passes": "not_run"})
    (told,) = api.waive(room.folder, waiver("exam.passes"), kinds=KINDS)
    assert (told.node, told.value, told.waived) == ("exam", "fail", "")
    judged = room.gate()
    assert judged.code == 3, "after has not run yet"
    planned = api.plan(room.asked(*room.sets), kinds=KINDS).plan
    assert {verdict.gate: verdict.waived for verdict in planned.verdicts}["passes"].startswith("waived by Ada until")
    assert planned.decisions["after"].action == "run"
    finished, worked = room.run(*room.sets, kinds=KINDS)
    assert (finished.code, worked) == (0, ["after"])
    assert said(finished.verdicts) == {"model.good": "pass", "exam.passes": "fail", "after.passes": "pass"}
    view = read(room.folder)
    assert outcome(view).title == "Passed with waivers" and outcome(view).verdict == "inconclusive"
    assert "1 fail but waived" in outcome(view).gates
    assert room.gate().code == 0


def test_a_waiver_ends_by_its_day_or_by_word(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.sets = ("stage.exam.right=90",)
    room.examine()
    api.waive(room.folder, waiver("passes"), kinds=KINDS)
    assert room.examine()[0] == 0
    api.withdraw(room.folder, "passes", by="Bob", because="mended")
    view = read(room.folder)
    assert outcome(view).title == "A waiver has lapsed" and view.exit_code == 0
    assert "its waiver was withdrawn" in view.judged("exam")[0].reason
    assert room.gate().code == 1 and read(room.folder).exit_code == 1
    with pytest.raises(UsageError, match="no waiver"):
        api.withdraw(room.folder, "passes", by="Bob", because="twice")
    past = waiver("passes").model_copy(update={"expires": date(2020, 1, 1)})
    record = Ledger(room.folder / "ledger.jsonl")
    record.write("waived", **past.model_dump(mode="json"))
    record.close()
    judged = room.gate()
    assert judged.code == 1 and "the waiver by Ada expired on 2020-01-01" in reasons(judged)
    assert "expired on 2020-01-01" in read(room.folder).judged("exam")[0].reason
    assert room.examine()[0] == 1


def test_a_gate_that_passes_needs_no_waiver(room: Room) -> None:
    for name in ("good", "exam.passes", "passes"):
        with pytest.raises(UsageError, match="needs no waiver"):
            api.waive(room.folder, waiver(name), kinds=KINDS)
    assert room.events("waived") == []


def test_a_waiver_does_not_excuse_a_mismatch(room: Room) -> None:
    room.edit(rate={"value": 0.99})
    (told,) = api.waive(room.folder, waiver("exam.passes"), kinds=KINDS)
    assert told.value == "not_run"
    assert room.gate().code == 6 and room.examine()[0] == 6


def test_a_waiver_given_after_the_run_is_shown_and_not_counted_until_it_is_judged(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.sets = ("stage.exam.right=90", "stage.after.off=true")
    room.examine()
    api.waive(room.folder, waiver("exam.passes"), kinds=KINDS)
    view = read(room.folder)
    assert view.exit_code == 1 and view.judged("exam")[0].waived
    assert "waived since" in outcome(view).says
    assert room.gate().code == 0
    assert outcome(read(room.folder)).title == "Passed with waivers"


def test_judging_takes_no_time_of_the_run(room: Room) -> None:
    before = read(room.folder)
    room.gate()
    after = read(room.folder)
    assert (after.took, after.started) == (before.took, before.started)


@pytest.mark.parametrize("lacking", [MissingNeed("no sandbox.", remedy="Name one."), StageFailed("it was lost.")])
def test_what_cannot_be_counted_again_here_is_inconclusive_and_the_rest_is_judged(room: Room, lacking: Stop) -> None:
    """C-S1, S-D14: a node whose metrics this machine cannot count passes no gate, and stops no other's judgement."""

    def counts(artifact: Artifact, knobs: Exam) -> Any:
        if knobs.right == 97:
            raise lacking
        return measure(artifact, knobs)

    kinds = ExamKinds(counts)
    judged = api.judge(room.folder, only=("exam.passes",), kinds=kinds)
    assert (judged.code, said(judged.verdicts)) == (3, {"exam.passes": "inconclusive"})
    assert f"could not be counted again: {lacking.what.rstrip('.')}" in reasons(judged)
    assert judged.uncounted == {"exam": lacking.paragraph()}
    judged = api.judge(room.folder, kinds=kinds)
    assert said(judged.verdicts)["after.passes"] == "not_run" and judged.code == 3
    assert (judged.unjudged, judged.mismatches) == ({}, {})
    failed = api.judge(room.folder, sets=("stage.exam.gate.passes.at_least=0.98",), kinds=kinds)
    assert (failed.code, said(failed.verdicts)["exam.passes"]) == (1, "fail"), "what its numbers fail, it fails"
    off = api.judge(room.folder, sets=("stage.exam.gate.passes.severity=warn",), kinds=kinds)
    assert (off.code, said(off.verdicts)["after.passes"]) == (0, "pass"), "what warns stops nobody"


def test_a_number_that_cannot_be_counted_again_here_is_told_so(room: Room) -> None:
    def counts(artifact: Artifact, knobs: Exam) -> Any:
        raise MissingNeed("no sandbox.", remedy="Name one.")

    told = api.trace(room.folder / "exam", "rate", kinds=ExamKinds(counts))
    assert told.recount == "not counted again: no sandbox.  Name one." and told.metric.k == 97
