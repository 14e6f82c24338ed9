"""Numbers and hostile text as they are written everywhere."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.reports import wording


@given(st.text())
def test_no_visible_text_acts(text):
    shown = wording.visible(text)
    shown.encode("utf-8")
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in "\n\t" for char in shown)
    assert "\n" not in wording.line(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u202eabc", "⟨U+202E⟩abc"),
        ("\x1b[31mred", "⟨U+001B⟩[31mred"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("\ud800", "⟨U+D800⟩"),
        ("x = \\boxed{3}\n", "x = \\boxed{3}\n"),
    ],
)
def test_what_would_act_is_shown_as_its_code(text, shown):
    assert wording.visible(text) == shown


def test_unknown_is_never_a_number():
    for write in (wording.share, wording.signed, wording.number, wording.count, wording.seconds, wording.size):
        assert write(None) == "not measured"
    assert wording.moment(None) == "not measured" and wording.short(None) == "not measured"
    assert wording.interval(None, 0.3) == ""


def test_numbers_as_they_are_read():
    assert wording.share(0.19349) == "0.193"
    assert wording.signed(-0.02) == "\u22120.020" and wording.signed(0.073) == "+0.073"
    assert wording.number(12345.0) == "12\u2009345" and wording.number(-0.00012345) == "\u22120.0001234"
    assert wording.number(float("nan")) == "not a number"
    assert [wording.seconds(s) for s in (0.44, 11.6, 252, 7500)] == ["0.44 s", "12 s", "4 min 12 s", "2 h 05 min"]
    assert [wording.size(s) for s in (312, 4200, 1.3e9)] == ["312 B", "4.1 KiB", "1.2 GiB"]
    assert wording.condition("at_least -0.08") == "≥ \u22120.08"
    assert wording.moment(1_795_000_000) == "2026-11-18 11:06 UTC"
