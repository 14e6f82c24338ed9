"""Waivers: by name, with a reason, until a day; what is no whole waiver waives nothing."""

from datetime import date, timedelta

import pytest

from posttrain.spec.errors import UsageError
from posttrain.spec.waiver import REASONS, Waiver, asked, standing, today

DAY = date(2031, 5, 1)


def record(gate: str = "exam.good", until: str = "2031-05-09", **more: str) -> dict[str, str]:
    told = {"event": "waived", "gate": gate, "reason": "experiment", "text": "we know", "approved_by": "Ada"}
    return {**told, "expires": until, **more}


def ask(gate: str = "exam.good", **more: str) -> Waiver:
    given = {"by": "Ada", "because": "we know", "reason": "experiment", "until": "2031-05-09"} | more
    return asked(gate, by=given["by"], because=given["because"], reason=given["reason"], until=given["until"], day=DAY)


def test_a_waiver_says_who_until_when_and_why() -> None:
    assert str(ask()) == "waived by Ada until 2031-05-09: we know (experiment)"
    assert str(ask(because="  two\n lines ")) == "waived by Ada until 2031-05-09: two lines (experiment)"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("reason", "known_regresion", 'Did you mean "known_regression"?'),
        ("until", "tomorrow", "is no day"),
        ("until", "20310509", "is no day"),
        ("until", "2031-02-30", "is no day"),
        ("until", "2031-05-01", "not in the future"),
        ("until", "2031-04-30", "not in the future"),
        ("gate", "", "GATE: it is empty"),
        ("gate", " ", "GATE: it is empty"),
        ("by", " ", "empty"),
        ("because", "\t", "empty"),
    ],
)
def test_what_is_no_waiver_is_refused(option: str, value: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        ask(**{option: value})


def test_there_are_eight_reasons() -> None:
    assert len(REASONS) == 8
    for reason in REASONS:
        assert ask(reason=reason).reason == reason


@pytest.mark.parametrize(
    ("gate", "covered"),
    [("good", True), ("exam.good", True), ("exam/x.good", True), ("exam/y.good", False), ("go", False)],
)
def test_a_gate_is_named_alone_with_its_stage_or_with_its_node(gate: str, covered: bool) -> None:
    assert ask(gate).covers("exam/x", "good") == covered


def test_it_counts_through_its_last_day() -> None:
    on = date(2031, 5, 9)
    assert standing([record()], on).on("exam", "good") is not None
    after = standing([record()], on + timedelta(days=1))
    assert after.on("exam", "good") is None
    assert after.lapsed("exam", "good") == "the waiver by Ada expired on 2031-05-09"
    assert after.lapsed("exam", "other") == ""


def test_the_last_word_on_a_gate_counts() -> None:
    withdrawn = {"event": "withdrawn", "gate": "exam.good", "text": "mended", "by": "Bob"}
    assert standing([record(), withdrawn], DAY).live == ()
    assert standing([withdrawn, record()], DAY).on("exam", "good") is not None
    twice = standing([record(), record(until="2031-06-01", approved_by="Bob")], DAY)
    assert [waiver.approved_by for waiver in twice.live] == ["Bob"]
    assert standing([record(), {**withdrawn, "gate": "good"}], DAY).live, "another name is another waiver"


def test_the_nearest_name_speaks_first() -> None:
    found = standing([record("good"), record("exam.good", approved_by="Bob")], DAY).on("exam/x", "good")
    assert found is not None and found.approved_by == "Bob"


@pytest.mark.parametrize(
    "broken",
    [{"reason": "because"}, {"text": ""}, {"approved_by": "  "}, {"expires": "soon"}, {"expires": None}, {"gate": 7}],
)
def test_a_record_that_is_no_whole_waiver_waives_nothing(broken: dict[str, object]) -> None:
    assert standing([{**record(), **broken}], DAY).live == ()
    short = record()
    del short[next(iter(broken))]
    assert standing([short], DAY).live == ()


def test_today_is_a_day() -> None:
    assert abs((today() - date.today()).days) <= 1
