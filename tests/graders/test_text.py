"""Counting in texts: sentences, repetition, form, language."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.graders import text
from posttrain.graders.answers import box
from posttrain.graders.language import language, languages

SPOKEN = tomllib.loads((Path(__file__).parent / "languages_spoken.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("code", sorted(SPOKEN))
def test_a_language_is_told(code: str) -> None:
    for sentence in SPOKEN[code]:
        assert language(sentence) == code
        assert text.spoken(sentence, code=code) == 1.0
        assert text.spoken(sentence, code="xx") == 0.0


def test_no_language_is_told_of_what_has_none() -> None:
    assert [language(said) for said in ("", "12 + 3", "zzz qqq xxz", "...")] == [None] * 4
    assert set(SPOKEN) <= languages()


@given(st.text(max_size=200))
def test_counting_never_fails_and_stays_between_0_and_1(said: str) -> None:
    assert language(said) is None or language(said) in languages()
    scores = (
        text.repetition(said),
        text.loop(said),
        text.varied(said),
        text.boxed_once(said),
        text.tagged(said),
        text.within(said, least=3, most=5),
        text.most_common_share(said),
    )
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert len(text.sentences(said)) <= len(said)
    assert "".join("".join(text.sentences(said)).split()) == "".join(said.split())


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("", 0),
        ("One", 1),
        ("One. Two! Three?", 3),
        ("Dr. Smith came at 3.5 p.m. with J. Doe. He left!", 2),
        ('He said "Stop!" Then he left.', 2),
        ("Wait... what? Yes.", 2),
        ("Use a list, i.e. *this one*. Done.", 2),
        ("It is I. You know.", 2),
    ],
)
def test_sentences_are_counted(said: str, count: int) -> None:
    assert len(text.sentences(said)) == count


def test_capital_words() -> None:
    assert text.capital_words("NASA and the U.S. DON'T use TO-DO; I do, A4 too. Mixed x 12") == [
        "NASA",
        "U.S",
        "DON'T",
        "TO-DO",
        "I",
        "A4",
    ]


def test_repetition_and_loops() -> None:
    assert text.repetition("a b c d e f g") == 0.0 and text.repetition("a b") == 0.0
    assert text.repetition("a b c d " * 10) > 0.8
    assert text.loop("first some words, then again again again again ") > 0.4
    assert text.loop("no loop here") == 0.0 and text.loop("") == 0.0
    assert text.varied("every word of this one is new") == 1.0 and text.varied("ha " * 50) < 0.1
    assert text.most_common_share("a a b c") == 0.5


def test_form() -> None:
    assert text.boxed_once(f"so {box('5')}.") == 1.0
    for bad in ("5", box("5") + " or " + box("6"), f"{box('5')} is it", "\\boxed{5", box("")):
        assert text.boxed_once(bad) == 0.0
    assert text.tagged("<think>a</think>\n<answer>b</answer>") == 1.0
    for bad in (
        "<answer>b</answer><think>a</think>",
        "<think>a</think>",
        "x<think>a</think><answer>b</answer>",
        "<think><think>a</think><answer>b</answer>",
    ):
        assert text.tagged(bad) == 0.0
    assert text.tagged("<a>x</a>", tags=("a",)) == 1.0


def test_length_comes_near_by_degrees() -> None:
    assert text.within("a b c", least=3) == 1.0
    assert (
        text.within("a b", least=4) == 0.5 and text.within("a b c d", most=2) == 0.5 and text.within("", least=1) == 0.0
    )
