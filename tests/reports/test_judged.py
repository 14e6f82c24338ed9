"""Waivers, later judgements and views in the story of a run: from the ledger alone, never an unqualified pass."""

from datetime import timedelta

import pytest

from posttrain.reports.markdown import document
from posttrain.reports.publish import plain, text_of
from posttrain.reports.read import read
from posttrain.reports.story import ending, outcome, rejudged, rests_on, unsettled
from posttrain.spec.waiver import today
from posttrain.store.ledger import Ledger
from reports.recorded import refused

LATER = today() + timedelta(days=9)


def note(folder, event, **fields):
    ledger = Ledger(folder / "ledger.jsonl", run="later")
    ledger.write(event, **fields)
    ledger.close()


def waive(folder, gate, *, until=LATER):
    told = {"reason": "experiment", "text": "we <b>know</b>", "approved_by": "Ada"}
    note(folder, "waived", gate=gate, expires=str(until), **told)


@pytest.fixture
def failed(tmp_path):
    """The run whose last gate failed, with exit 1."""
    return refused(tmp_path / "run")


def last(folder):
    view = read(folder)
    return next(v for v in view.verdicts if v.value == "fail" and v.severity == "stop")


def test_a_waiver_after_the_run_is_shown_and_the_exit_code_stays(failed):
    verdict = last(failed)
    waive(failed, f"{verdict.node}.{verdict.gate}")
    view = read(failed)
    assert view.exit_code == 1 and last(failed).waived.startswith("waived by Ada until ")
    assert "What refused is waived since." in outcome(view).says and outcome(view).title == "Refused"


def test_a_pass_that_rests_on_a_waiver_says_so_in_every_form(failed):
    verdict = last(failed)
    waive(failed, verdict.gate)
    note(failed, "run_finished", code=0, wall_s=1.0)
    view = read(failed)
    told = outcome(view)
    assert (told.title, told.verdict) == ("Passed with waivers", "inconclusive")
    assert "fail but waived" in told.gates
    assert rests_on(view.verdicts).startswith("rests on 1 waiver: ")
    assert [v.gate for v in unsettled(view.verdicts) if v.waived] == [verdict.gate]
    page, text = text_of(view, ".html"), document(view)
    assert "Passed with waivers" in page and 'fail <span class="warn">(waived)</span>' in page
    assert '<text class="mark waived"' in page and "we &lt;b&gt;know&lt;/b&gt;" in page and "<b>know</b>" not in page
    assert "passed with waivers" in text and "fail (waived)" in text
    assert plain(view)["outcome"]["title"] == "Passed with waivers"


def test_a_waiver_that_has_expired_since_is_no_pass(failed):
    verdict = last(failed)
    fields = {
        "gate": verdict.gate,
        "node": verdict.node,
        "value": "fail",
        "reason": "too low",
        "waived": "waived by Ada",
    }
    note(failed, "verdict", **fields)
    waive(failed, verdict.gate, until=today() - timedelta(days=1))
    note(failed, "run_finished", code=0, wall_s=1.0)
    view = read(failed)
    told = outcome(view)
    assert (told.title, told.verdict) == ("A waiver has lapsed", "inconclusive")
    assert last(failed).waived == "" and "the waiver by Ada expired on" in last(failed).reason


def test_a_judgement_of_all_gates_says_how_the_run_stands(failed):
    note(failed, "judged", code=3, only=[], sets=[])
    assert read(failed).exit_code == 3 and rejudged(read(failed)) == ""


def test_a_judgement_under_other_thresholds_is_told_and_changes_nothing(failed):
    before = read(failed)
    note(failed, "judged", code=0, only=["lift"], sets=["stage.exam.gate.lift.at_least=0"])
    view = read(failed)
    assert (view.exit_code, view.verdicts, view.took) == (before.exit_code, before.verdicts, before.took)
    assert "(only lift, stage.exam.gate.lift.at_least=0): exit code 0." in rejudged(view)
    assert rejudged(view) in text_of(view, ".html")
    note(failed, "judged", code=1, only=[], sets=[])
    assert read(failed).rejudged is None


def test_a_view_that_could_not_be_written_is_told_until_it_can(failed):
    note(failed, "run_finished", code=4, wall_s=1.0)
    note(failed, "view", node="fuse", path="x.json", digest="", error="/x.json: it cannot be written.")
    assert outcome(read(failed)).says.endswith("(exit code 4). /x.json: it cannot be written.")
    note(failed, "view", node="fuse", path="x.json", digest="abc")
    assert read(failed).troubles == ()


def test_a_run_that_no_gate_judged_has_not_passed(failed):
    """Unknown is never a pass, in a headline neither."""
    assert ending(6, (), "exam failed: it is gone").says.endswith("exam failed: it is gone.")
    assert ending(6, (), "exam failed: it is gone.").says.endswith("it is gone.")
    assert ending(0, ()).title == "Finished" and ending(0, ()).verdict == "inconclusive"
    assert "No gate that stops a run was judged (exit code 0)." in ending(0, ()).says
    assert ending(0, [v for v in read(failed).verdicts if v.value == "pass"]).title == "Passed"
