"""`posttrain grade`: one answer, or the audit."""

from cli.door import posttrain
from posttrain.algos.stats import wilson
from posttrain.cli.verbs import grading
from posttrain.graders.maths.audit import Audit, FirstSight, Pair, Told


def test_an_answer_is_graded_at_the_door():
    """S-D9: one answer beside one gold."""
    said = posttrain("grade", "1/2", "0.50")
    assert (said.code, said.out.strip()) == (0, "right")
    assert posttrain("grade", "1/2", "50%").out.strip() == "wrong"
    for wrong in ((), ("1/2",), ("1/2", "1/2", "--audit")):
        assert posttrain("grade", *wrong).code == 2


def test_the_audit_tells_rates_and_every_mistake():
    """S-D9: rates with intervals, the last group at first sight, what was not decided apart."""
    told = [
        Told(Pair("units", "5", "5 cm", right=True), "right"),
        Told(Pair("units", "5", "6", right=False), "wrong"),
        Told(Pair("units", "x", "9^{9^9}", right=False), "timeout"),
        Told(Pair("fresh", "5", "5.0", right=True), "wrong"),
        Told(Pair("fresh", "5", "7", right=False), "right"),
    ]
    text = grading.told(
        Audit(tuple(told), (Told(Pair("golds", "5", "5", right=True), "right"),)),
        FirstSight(wilson(1, 4), wilson(0, 9)),
    )
    assert "right answers refused   50.00% (1 of 2; 95 % 9.45% to 90.55%)" in text
    assert "wrong answers accepted  33.33% (1 of 3;" in text
    assert "at first sight: refused 25.00% (1 of 4;" in text and "accepted 0.00% (0 of 9;" in text
    assert "undecided at a limit    1" in text and "1 of 1" in text
    assert text.splitlines()[-3:] == [
        "  fresh: '5.0' beside '5' is right, graded wrong",
        "  fresh: '7' beside '5' is wrong, graded right",
        "  undecided: '9^{9^9}' beside 'x'",
    ]
