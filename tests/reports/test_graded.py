"""How programs were run and answers graded, as every form of the report says it."""

import json
import re

import pytest

from cli.door import posttrain
from posttrain.data.records import Problem, Score
from posttrain.reports.charts.curves import charts
from posttrain.reports.evidence import graded
from posttrain.reports.html import page
from posttrain.reports.learning import learning
from posttrain.reports.markdown import document
from posttrain.reports.publish import plain
from posttrain.reports.read import read
from posttrain.reports.story import programs
from posttrain.spec.gate import Metric
from reports.recorded import ENVIRONMENT, Recorder, share

OUTCOMES = {
    "exam_base": {"algebra": {"wrong": 30, "right": 10}, "code": {"wrong": 20, "runtime_error": 12, "right": 8}},
    "exam_final": {"algebra": {"right": 25, "wrong": 15}, "code": {"right": 24, "timeout": 9, "sandbox_error": 7}},
}


def coded(folder, *, level="L3", told=OUTCOMES):
    """Two exams with programs in them, run at a level."""
    recorder = Recorder(folder)
    steps = [
        {"step": 1, "outcomes": {"wrong": 8}, "signs": {"exits": 2}},
        {"step": 2, "outcomes": {"right": 8}, "signs": {}},
    ]
    recorder.node("base", "base", {})
    if level:
        recorder.node("rl_code", "rl", {"model": ["base"]}, steps=steps)
    measured = {"wall_s": 1.0, "environment": {**ENVIRONMENT, **({"sandbox": level} if level else {})}}
    for exam, outcomes in told.items():
        metrics = {"pass@1": share(0.4), "pass@1/algebra": share(0.5), "pass@1/code": share(0.3)}
        metrics["undecided/code"] = Metric(7 if exam == "exam_final" else 0, n=40)
        signs = {"frames": {"wrong": 2, "right": 1}} if exam == "exam_final" else {}
        files = {"report.json": {"outcomes": outcomes, "signatures": signs}}
        inputs = {"model": ["base"]}
        recorder.node(exam, "evaluate", inputs, type="scores", metrics=metrics, files=files, measured=measured)
    return recorder.finish()


def test_every_outcome_of_every_exam_is_counted_code_first(tmp_path):
    """S-D14: right, wrong, runtime error, timeout apart; what was not decided beside them, in no score."""
    view = read(coded(tmp_path))
    (code, algebra), signs = graded(view, learning(view))
    assert (code.domain, algebra.domain) == ("code", "algebra")
    assert code.outcomes == ("right", "wrong", "runtime_error", "timeout", "sandbox_error")
    assert dict(code.rows)["final"] == OUTCOMES["exam_final"]["code"] and code.undecided == {"base": 0, "final": 7}
    assert [(s.where, s.name, s.programs, s.right) for s in signs] == [
        ("final", "frames", 3, 1),
        ("rl_code", "exits", 2, None),
    ]


def test_page_and_markdown_show_them(tmp_path):
    """S-E4, S-D14: the breakdown of code answers and the signs of hacking stand in the report."""
    view = read(coded(tmp_path))
    text = page(view)
    assert "How answers were graded: code" in text and "runtime_error" in text and "0.600" in text
    assert "reads its callers&#39; frames" in text
    assert text.index("graded: code") < text.index("<summary>How the answers of the other domains")
    told = document(view)
    assert "| code | right | wrong | runtime\\_error | timeout | sandbox\\_error | not decided |" in told
    assert "| final | 24 | 0 | 0 | 9 | 7 | 7 |" in told and "| final | frames | 3 | 1 |" in told
    assert "| rl\\_code | exits | 2 | \u2013 |" in told and "ends its process" in text
    for name, first, last in (("right", 0, 8), ("wrong", 8, 0)):
        assert f"rl outcomes/{name}" in text.replace("</b>", "").replace("<b>", "")
        (chart,) = [one for one in charts(view) if one.metric == f"outcomes/{name}"]
        assert chart.series[0].points == ((1.0, first), (2.0, last))


@pytest.mark.parametrize(
    ("level", "lowered", "says"),
    [
        ("L3", False, "Programs ran at sandbox level L3 in 2 nodes."),
        ("L3, elsewhere", False, "Programs ran at sandbox level L3, elsewhere, in 2 nodes."),
        ("L1", True, "Programs ran at sandbox level L1 in 2 nodes, lower than the default requires."),
        ("none", True, "No program was run in 2 nodes: of the code domain, expression tasks alone"),
    ],
)
def test_the_level_is_told_everywhere_and_loudly_where_it_is_low(tmp_path, level, lowered, says):
    """S-D14: the level that programs ran at is in manifest, status, show and report; a lowered one stands out."""
    folder = coded(tmp_path, level=level)
    view = read(folder)
    ran = programs(view)
    assert ran is not None and ran.says.startswith(says) and ran.lowered == lowered
    assert plain(view)["programs"] == {"says": ran.says, "lowered": lowered}
    assert says in page(view) and says.replace("_", "\\_") in document(view)
    loud = ("Not the default sandbox" in form for form in (page(view), document(view), posttrain("status", folder).out))
    assert list(loud) == [lowered] * 3
    assert says in posttrain("status", folder).out
    shown = posttrain("show", folder / "exam_final").out
    said = "no level: none was run" if level == "none" else level
    assert f'"sandbox": "{level}"' in shown and re.search(rf"programs ran at +{said}\n", shown)


def test_a_run_without_programs_says_nothing_of_them(tmp_path):
    view = read(coded(tmp_path, level="", told={"exam_base": {"algebra": {"right": 1}}}))
    assert programs(view) is None and "sandbox" not in page(view)
    assert "How answers were graded: algebra" in page(view)


@pytest.mark.parametrize("broken", ["[]", "{", '{"outcomes": 3}', '{"outcomes": {"code": {"right": "x"}}}'])
def test_facts_that_cannot_be_read_break_no_report(tmp_path, broken):
    folder = coded(tmp_path)
    for exam in ("exam_base", "exam_final"):
        report = (folder / "nodes" / exam / "report.json").resolve()
        report.chmod(0o644)
        report.write_text(broken)
    view = read(folder)
    assert graded(view, learning(view))[0] == ()
    assert "How answers were graded" not in page(view) + document(view)


def test_hostile_names_of_outcomes_are_text(tmp_path):
    hostile = "<script>x</script>|`\u202e"
    folder = coded(tmp_path, level=hostile, told={"exam_base": {hostile: {hostile: 3}}})
    assert "<script" not in page(read(folder))
    assert json.dumps(plain(read(folder)))


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ('{"entry":"f","reference":"def f(a): return a","tests":"assert f(9) == 9"}', "def f(a): return a"),
        ('{"stdin":[["1","2"]]}', "hidden tests"),
        ("[3", "[3"),
    ],
)
def test_the_gold_of_a_program_is_a_program(tmp_path, answer, shown):
    """S-D14: of hidden tests the report shows that there are, not what they expect."""
    recorder = Recorder(tmp_path)
    asked = Problem(id="p", domain="code", prompt="nine", answer=answer, answer_type="code")
    told = {"outcome": "wrong", "answer": "x", "text": "x", "tokens": 1, "finish": "stop"}
    row = Score(id="p", domain="code", sample=0, correct=False, **told)
    recorder.node("prepare/code", "prepare", {}, type="data", files={"test.jsonl": [asked]})
    for exam in ("exam_base", "exam_final"):
        inputs = {"data": ["prepare/code"]}
        metrics = {"pass@1": share(0.0)}
        recorder.node(exam, "evaluate", inputs, type="scores", metrics=metrics, files={"scores.jsonl": [row]})
    text = page(read(recorder.finish()))
    assert f'gold <bdi class="code">{shown}</bdi>' in text and "assert f(9)" not in text
