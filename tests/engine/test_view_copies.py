"""Views: written after a node, read back before a gate, judged at the worse of file and rows, never at the better."""

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_judge import gate as gate_of

from engine.exams import KINDS, RECIPE, Room, reasons, said
from posttrain import api
from posttrain.engine.judge import Claim, Reading, decide, too_good
from posttrain.engine.judge.decide import weigh
from posttrain.spec.gate import Gate, Metric

PASS = {"model.good": "pass", "exam.passes": "pass", "after.passes": "pass"}


@pytest.fixture
def room(tmp_path: Path) -> Room:
    made = Room(tmp_path)
    assert made.examine() == (0, PASS)
    return made


def test_a_view_is_a_copy_where_the_recipe_says(room: Room) -> None:
    artifact = room.folder / "nodes" / "exam"
    assert room.report.read_bytes() == (artifact / "report.json").read_bytes()
    assert room.rows.read_bytes() == (artifact / "rows.jsonl").read_bytes()
    mark = artifact.resolve().name
    assert room.rows.name == f"rows_{mark[:8]}.jsonl"
    assert [event["path"] for event in room.events("view")] == [
        "results/exam.json",
        f"results/{room.rows.name}",
        "text.txt",
    ]
    assert not list(room.folder.glob("**/.*.new"))


def test_views_that_nobody_edited_say_nothing(room: Room) -> None:
    """Read by another tool and written in another layout, or touched: nothing changes, and nothing is written again."""
    told = json.loads(room.report.read_text())
    told["metrics"]["rate"]["n"] = 100.0
    room.report.write_text(json.dumps(dict(reversed(told.items())), indent=7))
    assert room.gate().code == 0 and room.gate().remarks == ()
    assert room.examine() == (0, PASS)
    assert len(room.events("view")) == 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rate": {"value": 0.946}}, "results/exam.json says 0.946, the rows give 0.97 (97/100)"),
        ({"rate": {"k": 94}}, "results/exam.json says 0.94 (94/100), the rows give 0.97 (97/100)"),
        ({"rate": {"value": 0.94, "k": 94}}, "says 0.94 (94/100), the rows give 0.97 (97/100)"),
        ({"rate": 0.9}, "results/exam.json says 0.9, the rows give"),
    ],
    ids=["value", "count", "both", "plain"],
)
def test_a_worse_number_in_a_view_is_the_one_judged(room: Room, changes: dict[str, Any], sentence: str) -> None:
    """C-T3: an edited result is judged at the lowest of stated rate, counts and rows, by gate alone and by run."""
    room.edit(**changes)
    judged = room.gate()
    assert judged.code == 1 and said(judged.verdicts)["exam.passes"] == "fail"
    assert sentence in reasons(judged) and "says rate 0.9" in " ".join(judged.remarks)
    code, verdicts = room.examine()
    assert (code, verdicts["exam.passes"], verdicts["after.passes"]) == (1, "fail", "not_run")
    assert room.report.exists(), "an edited view stays"


def test_a_worse_number_that_still_meets_the_condition_passes_and_is_named(room: Room) -> None:
    room.edit(rate={"value": 0.96})
    judged = room.gate()
    assert judged.code == 0 and "says 0.96, the rows give 0.97 (97/100)" in reasons(judged)


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({"rate": {"value": 0.98}}, ("0.98", "0.97 (97/100)")),
        ({"rate": {"k": 99}}, ("0.99 (99/100)", "0.97 (97/100)")),
        ({"rate": {"n": 97}}, ("1 (97/97)", "0.97 (97/100)")),
        ({"rate": 1}, ("says rate 1", "0.97 (97/100)")),
    ],
)
def test_a_better_number_in_a_view_is_a_mismatch(room: Room, changes: dict[str, Any], numbers: tuple[str, str]) -> None:
    """C-T3: upward edits are caught, both numbers named; the artifact is not touched."""
    before = room.digests()
    room.edit(**changes)
    judged = room.gate()
    assert judged.code == 6 and said(judged.verdicts)["exam.passes"] == "not_run"
    assert all(number in judged.mismatches["exam"].what for number in numbers)
    planned = api.plan(room.asked(), kinds=KINDS).plan.decisions["exam"]
    assert (planned.action, planned.code) == ("blocked", 6) and numbers[0] in planned.reasons[0]
    finished, worked = room.run(kinds=KINDS)
    assert finished.code == 6 and worked == [] and all(number in finished.failures[0].error.what for number in numbers)
    assert room.digests() == before
    room.report.unlink()
    assert room.examine() == (0, PASS)


def test_rows_edited_in_a_view_are_counted_again(room: Room) -> None:
    text = room.rows.read_text()
    room.rows.write_text(text.replace("true", "false", 10))
    judged = room.gate()
    assert judged.code == 1 and f"results/{room.rows.name} gives 0.87 (87/100), the rows give 0.97" in reasons(judged)
    room.rows.write_text(text.replace("false", "true"))
    judged = room.gate()
    assert judged.code == 6 and "1 (100/100)" in judged.mismatches["exam"].what
    room.rows.write_text(text + '{"id": 100, "right": true}\n')
    assert room.gate().code == 6, "more items are a better claim too"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "cannot be read"),
        ("", "cannot be read"),
        ('{"made_by": "a toy", "metrics": {"rate": NaN}}', "NaN is no number"),
        ('{"made_by": "a toy", "metrics": {"rate": 0.97, "rate": 0.5}}', "twice"),
        ('{"made_by": "a toy", "metrics": {"rate": "high"}}', "no number"),
        ('{"made_by": "a toy", "metrics": {"rate": true}}', "no number"),
        ('{"made_by": "a toy", "metrics": {"rate": {"k": 3, "n": 100}}}', "without a value"),
        ('{"made_by": "a toy", "metrics": {"rate": {"value": 0.9, "k": 9, "n": 3}}}', "9/3"),
        ('{"made_by": "a toy", "metrics": {"rate": {"value": 0.9, "k": 0.5, "n": 3}}}', "count"),
        ('{"made_by": "a toy", "metrics": {"rate": 1e400}}', "no number"),
        ('{"metrics": {}}', "cannot be read"),
        ('{"made_by": "b toy", "metrics": {}}', "no metric shows what changed"),
        ("[" * 100_000, "cannot be read"),
    ],
    ids=range(13),
)
def test_a_view_that_cannot_be_read_lets_no_gate_pass(room: Room, text: str, sentence: str) -> None:
    """Bad input: an edited view that is no JSON, no number, or changed where no metric looks."""
    room.report.write_text(text)
    judged = room.gate()
    assert judged.code == 3 and said(judged.verdicts)["exam.passes"] == "inconclusive"
    assert "results/exam.json" in reasons(judged) and sentence in reasons(judged)
    assert room.examine()[0] == 3


def test_a_number_stated_as_null_is_unknown(room: Room) -> None:
    room.edit(rate={"value": None})
    judged = room.gate()
    assert judged.code == 3 and "no value" in reasons(judged)


def test_a_text_that_no_metric_reads_lets_no_gate_pass(room: Room) -> None:
    (room.folder / "text.txt").write_text("all is well\n")
    judged = room.gate()
    assert judged.code == 3 and "the view text.txt was edited, and no metric shows what changed" in reasons(judged)


def test_a_number_that_no_gate_looks_at_is_remarked_on(room: Room) -> None:
    room.edit(made_by="somebody")
    judged = room.gate()
    assert judged.code == 0 and judged.remarks == ("results/exam.json gives letters 8, the rows give 5",)
    room.examine()
    assert "letters 8" in room.events("note")[-1]["text"]


def test_a_failing_gate_stays_failing_whatever_a_view_says(room: Room) -> None:
    room.report.write_text("{")
    judged = room.gate("stage.exam.gate.passes.at_least=0.99")
    assert said(judged.verdicts)["exam.passes"] == "fail"


def test_a_missing_view_is_written_by_run_and_missed_by_gate(room: Room) -> None:
    room.report.unlink()
    judged = room.gate()
    assert judged.code == 3 and "results/exam.json is missing: `posttrain run` writes it again" in reasons(judged)
    assert api.plan(room.asked(), kinds=KINDS).plan.idle
    assert room.examine() == (0, PASS) and room.report.exists()
    assert room.gate().code == 0


def test_a_view_follows_its_artifact_while_nobody_edits_it(room: Room) -> None:
    assert room.examine("stage.exam.right=96")[0] == 0
    assert json.loads(room.report.read_text())["metrics"]["rate"]["k"] == 96
    assert len(list((room.folder / "results").glob("rows_*.jsonl"))) == 2, "each fingerprint keeps its own"
    assert room.examine() == (0, PASS)
    assert json.loads(room.report.read_text())["metrics"]["rate"]["k"] == 97
    assert not list(room.folder.glob("**/*.edited*"))


def test_an_edited_view_of_a_replaced_artifact_is_kept_beside(room: Room) -> None:
    room.edit(rate={"value": 0.5})
    edited = room.report.read_bytes()
    assert room.examine("stage.exam.right=98")[0] == 0
    assert room.report.with_name("exam.json.edited").read_bytes() == edited
    assert json.loads(room.report.read_text())["metrics"]["rate"]["k"] == 98
    assert "kept as results/exam.json.edited" in room.events("note")[-1]["text"]
    room.edit(rate={"value": 0.4})
    assert room.examine()[0] == 0
    assert room.report.with_name("exam.json.edited-2").exists()


def test_a_file_that_was_there_before_is_kept_beside(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.report.parent.mkdir(parents=True)
    room.report.write_text("mine")
    assert room.examine() == (0, PASS)
    assert room.report.with_name("exam.json.edited").read_text() == "mine"


def test_the_view_of_another_artifact_is_not_taken_for_an_edit(room: Room) -> None:
    """Killed between commit and view: the next run writes it, gate alone does not judge by it."""
    old = room.report.read_bytes()
    room.examine("stage.exam.right=96")
    lines = (room.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    first = [line for line in lines if '"path":"results/exam.json"' not in line or lines.index(line) < len(lines) // 2]
    (room.folder / "ledger.jsonl").write_text("".join(first))
    room.report.write_bytes(old)
    judged = room.gate()
    assert judged.code == 3 and "shows an artifact of before" in reasons(judged)
    assert room.examine("stage.exam.right=96")[0] == 0
    assert json.loads(room.report.read_text())["metrics"]["rate"]["k"] == 96


def test_paths_move_views_and_nothing_else(tmp_path: Path) -> None:
    """C-S10: views go where [paths] says; nothing of them is left in the run."""
    elsewhere = tmp_path / "else where"
    room = Room(tmp_path, RECIPE + f'\n[paths]\nresults = "{elsewhere}"\n')
    assert room.examine() == (0, PASS)
    assert {path.name.partition("_")[0] for path in elsewhere.iterdir()} == {"exam.json", "rows"}
    assert not room.report.parent.exists()
    (elsewhere / "exam.json").write_text("{")
    judged = room.gate()
    assert judged.code == 3 and str(elsewhere / "exam.json") in reasons(judged)


@pytest.mark.parametrize("way", ["folder", "file above"])
def test_a_place_that_cannot_be_written_costs_nothing_that_is_finished(tmp_path: Path, way: str) -> None:
    """Exit 4 names the place; the artifact is made, judged and kept, and the same command ends well once it is free."""
    room = Room(tmp_path)
    place = room.report if way == "folder" else room.report.parent
    place.mkdir(parents=True) if way == "folder" else (place.parent.mkdir(), place.touch())
    finished, _ = room.run(kinds=KINDS)
    assert finished.code == 4 and said(finished.verdicts) == PASS
    assert str(room.report) in str(finished.failures[0].error) and finished.failures[0].node == "a view of exam"
    assert set(finished.fates.values()) == {"ran"}
    assert room.gate().code == 3
    place.rmdir() if way == "folder" else place.unlink()
    finished, worked = room.run(kinds=KINDS)
    assert (finished.code, worked) == (0, [])


def test_a_view_that_is_no_plain_file_is_never_waited_for(room: Room) -> None:
    """A pipe to which nobody writes, or a device that never ends, is a place that cannot be read or written."""
    for place, make in ((room.report, os.mkfifo), (room.rows, lambda path: path.symlink_to("/dev/zero"))):
        place.unlink()
        make(place)
    judged = room.gate()
    assert judged.code == 3 and f"results/{room.rows.name} cannot be read: it is no plain file" in reasons(judged)
    finished, worked = room.run(kinds=KINDS)
    assert (finished.code, worked) == (4, [])
    assert {str(failure.error).partition(":")[0] for failure in finished.failures} == {str(room.report), str(room.rows)}


def test_a_view_of_a_file_that_is_not_made_is_refused_when_it_is_known(tmp_path: Path) -> None:
    room = Room(tmp_path, RECIPE.replace("exam:text.txt", "exam:words.txt"))
    finished, _ = room.run(kinds=KINDS)
    assert finished.code == 2 and "rows.jsonl, text.txt" in str(finished.failures[0].error)


def test_a_view_of_a_stage_that_is_off_is_not_asked_for(tmp_path: Path) -> None:
    room = Room(tmp_path, RECIPE.replace('wait = ["exam"]\n', ""))
    code, verdicts = room.examine("stage.exam.off=true")
    assert (code, "exam.passes" in verdicts) == (0, False)


NUMBERS = st.one_of(st.integers(0, 20).map(lambda k: k / 20), st.sampled_from([0.0, 1.0, 0.5]))
CLAIMS = st.one_of(
    st.just(Metric(None, "null")),
    st.builds(Metric, NUMBERS),
    st.builds(lambda v, n: Metric(v, n=n), NUMBERS, st.integers(0, 40)),
    st.builds(lambda k: Metric(k / 20, k=k, n=20, low=k / 20 - 0.1, high=k / 20 + 0.1), st.integers(0, 20)),
    st.builds(lambda v, a, b: Metric(v, n=20, low=v - a, high=v + b), NUMBERS, NUMBERS, NUMBERS),
)
CONDITIONS = st.builds(
    lambda name, bound, decide_, unmet, min_n: gate_of(
        **{name: Decimal(bound) / 20, "decide": decide_, "unmet": unmet, "min_n": min_n}
    ),
    st.sampled_from(("at_least", "at_most", "equals")),
    st.integers(0, 20),
    st.sampled_from(("point", "interval")),
    st.sampled_from(("fail", "inconclusive")),
    st.sampled_from((0, 10)),
)
RANK = {"fail": 0, "inconclusive": 1, "pass": 2}


@given(CONDITIONS, st.one_of(st.none(), CLAIMS), st.lists(CLAIMS, max_size=3), st.sampled_from(["", "unread"]))
@settings(max_examples=300)
def test_a_view_never_makes_a_verdict_better(one: Gate, own: Metric | None, stated: list[Metric], unread: str) -> None:
    """For all conditions, metrics and claims: never better than the artifact alone, never better than any claim."""
    claims = tuple(Claim("x says", metric) for metric in stated)
    _, value, _ = weigh(one, own, Reading({"m": claims}, unread))
    alone = decide(one, own)[0]
    assert RANK[value] <= RANK[alone]
    if unread:
        assert value != "pass"
    for metric in stated:
        whole = metric.low is not None and metric.n is not None
        assert not whole or RANK[value] <= RANK[decide(one, metric)[0]]


@given(CONDITIONS, CLAIMS, CLAIMS)
@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
def test_whatever_would_turn_a_refusal_into_a_pass_is_too_good(one: Gate, own: Metric, claim: Metric) -> None:
    """Judged alone, a claim that passes where the artifact does not is a mismatch, unless only words differ."""
    whole = Metric(claim.value, claim.reason, n=20, low=claim.low, high=claim.high, k=claim.k)
    if decide(one, own)[0] != "pass" and decide(one, whole)[0] == "pass" and own.low is not None and own.n == 20:
        assert too_good(one, own, whole)


def test_each_condition_has_its_own_better() -> None:
    own = Metric(0.5, n=20, low=0.4, high=0.6)
    assert too_good(gate_of(at_least=Decimal("0.9")), own, Metric(0.51))
    assert not too_good(gate_of(at_least=Decimal("0.9")), own, Metric(0.49))
    assert too_good(gate_of(at_most=Decimal("0.9")), own, Metric(0.49))
    assert not too_good(gate_of(at_most=Decimal("0.9")), own, Metric(0.51))
    assert too_good(gate_of(equals=Decimal("0.7")), own, Metric(0.6))
    assert not too_good(gate_of(equals=Decimal("0.5")), own, Metric(0.6))
    narrow = Metric(0.5, n=20, low=0.45, high=0.55)
    for name in ("at_least", "at_most"):
        one = gate_of(**{name: Decimal("0.5"), "decide": "interval"})
        assert too_good(one, own, narrow) and not too_good(one, narrow, own)
    assert not too_good(gate_of(), own, Metric(0.5, n=30)), "without min_n, items are not counted"
    assert too_good(gate_of(min_n=5), own, Metric(0.5, n=30))
