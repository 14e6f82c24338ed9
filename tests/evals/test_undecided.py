"""Samples that no grader could decide: in no score, counted, and compared on the same items on both sides."""

import json
from pathlib import Path

import pytest

from posttrain.data import rows
from posttrain.data.records import Gain, Score
from posttrain.evals import foresee
from posttrain.evals.compare import Pair, gains, largest_k
from posttrain.evals.compare import summary as compared
from posttrain.evals.passk import Candidate, choose, held_out, metrics, paired
from posttrain.evals.tally import items, standard_errors, summary
from posttrain.spec.errors import StageFailed, UsageError
from posttrain.spec.stage import Foreseen
from posttrain.train.rl import tell, validate
from support import artifact

RIGHT, WRONG, OPEN = "+", "-", "?"


def sat(given: dict[str, str], *, step: int | None = None) -> list[Score]:
    """Rows of an exam: id → what became of each sample."""
    return [
        Score(
            id=id,
            domain="code",
            sample=number,
            correct=mark == RIGHT,
            outcome={RIGHT: "right", WRONG: "wrong", OPEN: "sandbox_error"}[mark],
            answer=mark,
            text=mark,
            tokens=10,
            finish="stop",
            step=step,
            decided=mark != OPEN,
        )
        for id, marks in given.items()
        for number, mark in enumerate(marks)
    ]


def test_an_undecided_sample_is_neither_right_nor_wrong():
    """S-D14: n and c of an item are over its decided samples; the metric counts the others."""
    first, second, third = items(sat({"a": "++-?", "b": "----", "c": "????"}))
    assert [(each.n, each.c, each.undecided, each.asked) for each in (first, second, third)] == [
        (3, 2, 1, 4),
        (4, 0, 0, 4),
        (0, 0, 4, 4),
    ]
    assert first.score(1) == pytest.approx(2 / 3) and first.consensus == 1.0
    found = summary([first, second, third], (4,))
    assert (found["pass@1"].value, found["pass@1"].n) == (pytest.approx(1 / 3), 2), "the third has no score"
    assert (found["pass@4"].value, found["pass@4"].n) == (None, 1), "only the second has four samples: less than half"
    assert (found["cons@4"].value, found["cons@4"].n) == (0.5, 2)
    assert (found["length"].n, found["truncated"].n) == (3, 3)
    assert (found["undecided"].value, found["undecided"].n, found["undecided"].unit) == (5, 12, "answers")
    assert standard_errors([first, second, third])[""] == pytest.approx(1 / 3)


def test_an_exam_that_nobody_could_grade_has_no_score():
    """S-D14: no value and a reason, never 0."""
    found = summary(items(sat({"a": "??", "b": "??"})), (1, 2))
    assert [found[name].value for name in ("pass@1", "pass@2", "cons@2")] == [None] * 3
    assert found["pass@1"].reason == "only 0 of 2 problems have enough samples that could be graded"
    assert found["undecided"].value == 4 and found["length"].value == 10


def test_a_score_over_less_than_half_of_the_problems_is_none():
    """S-C4, S-D14: one problem that could be graded passes no gate for all that could not."""
    half = summary(items(sat({"a": "++", "b": "??"})), (1, 2))
    assert (half["pass@2"].value, half["pass@2"].n) == (1.0, 1)
    few = summary(items(sat({"a": "++", "b": "??", "c": "??"})), (1, 2))
    assert (few["pass@2"].value, few["pass@2"].n) == (None, 1)
    assert few["pass@1"].reason == "only 1 of 3 problems have enough samples that could be graded"


def test_the_best_validation_is_best_on_problems_that_all_could_be_graded_on():
    """S-D10, S-D14: a step is not the best because what it fails could not be graded."""
    sits = {0: sat({"a": "++", "b": "+-"}), 5: sat({"a": "++", "b": "??"}), 9: sat({"a": "++", "b": "++"})}
    assert validate.best({0: sits[0], 5: sits[5]}) == 0
    assert validate.best({0: sits[0], 9: sits[9]}) == 9
    with pytest.raises(StageFailed, match="no problem"):
        validate.best({0: sat({"a": "??", "b": "++"}), 5: sat({"a": "++", "b": "??"})})


def test_without_undecided_samples_every_metric_is_over_all_items():
    found = summary(items(sat({"a": "++--", "b": "+---", "c": "----"})), (1, 2, 4))
    assert {found[name].n for name in ("pass@1", "pass@2", "pass@4", "cons@4", "length", "distinct")} == {3}
    assert found["undecided"].value == 0


def test_rows_of_before_read_as_decided(tmp_path: Path):
    """The files of older runs stay readable: what they do not say was decided."""
    old = '{"id":"a","domain":"code","sample":0,"correct":true,"outcome":"right","answer":"7","text":"7","tokens":3,'
    (tmp_path / "scores.jsonl").write_text(old + '"finish":"stop","suite":"problems","step":null}\n')
    assert [row.decided for row in rows.read(tmp_path / "scores.jsonl", Score)] == [True]


def pair(before: dict[str, str], after: dict[str, str]) -> Pair:
    return Pair("", items(sat(before)), items(sat(after)))


def test_a_comparison_is_of_items_that_both_sides_could_score():
    """S-C10, S-D14: an item that one side could not score is counted and left out of both."""
    exams = pair({"a": "+---", "b": "??--", "c": "????"}, {"a": "++--", "b": "++++", "c": "++++"})
    told = gains([exams], k=1)
    assert [(row.id, row.before, row.after) for row in told] == [("a", 0.25, 0.5), ("b", 0.0, 1.0), ("c", None, 1.0)]
    found = compared(told)
    assert (found["gain"].value, found["gain"].n) == (pytest.approx((0.25 + 1.0) / 2), 2)
    assert (found["before"].n, found["after"].n, found["gain/code"].n) == (2, 2, 2)
    assert (found["undecided"].value, found["undecided"].n) == (1, 3)


def test_k_of_a_comparison_is_what_was_asked_for():
    """S-C10: an undecided sample lowers no K; items that lack samples for it are counted and left out."""
    exams = pair({"a": "+---", "b": "++-?"}, {"a": "++--", "b": "++--"})
    assert largest_k([exams]) == 4
    with pytest.raises(UsageError, match="only 4 samples"):
        gains([exams], k=5)
    found = compared(gains([exams], k=4))
    assert (found["gain"].n, found["undecided"].value) == (1, 1)


def test_a_comparison_with_no_common_item_has_no_gain():
    found = compared(gains([pair({"a": "????"}, {"a": "++++"})], k=1))
    assert found["gain"].value is None and found["gain"].reason == "no item has a score on both sides"
    assert compared([])["undecided"].value is None
    assert Gain(id="a", domain="d", member="", before=0.5, after=0.5)


def exam(folder: Path, marks: dict[str, str]) -> Foreseen:
    """An exam that has been sat, as the plan sees it."""
    folder.mkdir()
    told = [[i.suite, i.id, i.domain, i.n, i.c] for i in items(sat(marks))]
    (folder / "report.json").write_text(json.dumps({"items": told}))
    return Foreseen(folder.name, "evaluate", {}, {}, artifact(folder, "scores"))


def test_the_plan_leaves_out_items_that_were_never_scored(tmp_path: Path):
    """S-A12: the spread that is told before a comparison is of the items that it will be of."""
    before = exam(tmp_path / "before", {"a": "+---", "b": "????", "c": "++--"})
    after = exam(tmp_path / "after", {"a": "++--", "b": "++++", "c": "++--"})
    assert foresee.differences(foresee.Expected(before, after), k=1) == [0.25, 0.0]


def candidate(step: int, *marks: str) -> Candidate:
    return Candidate(step, items(sat({f"p{number}": each for number, each in enumerate(marks)}, step=step)))


def test_checkpoints_are_chosen_on_problems_that_all_of_them_could_score():
    """S-C5, S-D14: what one checkpoint could not score speaks for none of the others."""
    early = candidate(10, "+---", "----", "++++", "----")
    late = candidate(20, "++--", "++--", "????", "----")
    assert [item.id for item in paired([early, late], 1)[0].items] == ["p0", "p1", "p3"]
    assert choose([early, late], k=1).chosen == 20, "on all four the first would lead by p2 alone"
    whole = [candidate(10, "+---", "----", "++++"), candidate(20, "++--", "++--", "----")]
    assert choose(whole, k=1).chosen == 10
    assert held_out([early, late], k=1).n == 3
    found = metrics([early, late], 20, (1,), by="pass@k", lead="any")
    assert (found["pass@1"].n, found["lead"].n, found["undecided"].value) == (3, 3, 4)
    assert found["undecided/step-10"].value == 0


def test_checkpoints_that_share_no_scored_problem_stop_the_probe():
    """S-A8: nothing is chosen from what was not seen."""
    with pytest.raises(StageFailed, match="no problem has 2 samples that could be graded from every checkpoint"):
        choose([candidate(1, "++", "??"), candidate(2, "??", "++")], k=2)


def test_a_validation_counts_what_could_be_graded():
    """S-D10, S-D14: pass@1 and gain over graded samples, paired; how many were not is told."""
    start = sat({"a": "+-", "b": "--", "c": "??"}, step=0)
    later = sat({"a": "++", "b": "+?", "c": "++"}, step=1)
    told = validate.standing(later).told()
    assert told["val_pass@1"] == 1.0 and told["val_undecided"] == 1
    assert told["val_pass@2"] == 1.0
    assert validate.standing(start).n == 2 and validate.standing(later).n == 3
    gain = validate.gain(start, later)
    assert (gain.value, gain.n) == (pytest.approx((0.5 + 1.0) / 2), 2)
    assert validate.best({0: start, 1: later}) == 1
    assert validate.standing(sat({"a": "+?", "b": "-?"})).pass_k is None


def test_a_gain_over_the_few_that_could_be_graded_judges_nothing():
    """S-D10: one problem of three that both times could be graded passes no gate; two of three are enough."""
    start = sat({"a": "+-", "b": "--", "c": "--"}, step=0)
    for later, value in (({"a": "+-", "b": "??", "c": "??"}, None), ({"a": "+-", "b": "--", "c": "??"}, 0.0)):
        told = tell._validated([*start, *sat(later, step=1)], select_best=False)["val_gain"]
        assert told.value == value and ("of 3 problems" in (told.reason or "")) == (value is None)


def test_a_validation_that_nobody_could_grade_stops():
    """S-A8: training on without knowing is no validation."""
    with pytest.raises(StageFailed, match="could be graded"):
        validate.standing(sat({"a": "??", "b": "??"}))
    with pytest.raises(ValueError, match="without rows"):
        validate.standing([])
