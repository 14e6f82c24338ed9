import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.algos import overlap

TEN = "one two three four five six seven eight nine ten"
EXAM = f"Natalia sold {TEN} clips in May."


def test_normalisation_loses_case_punctuation_and_latex_spacing() -> None:
    """S-B8: the words of a text, as §1.5 has them."""
    plain = overlap.normalise("find x 1 2 where x is left")
    assert overlap.normalise("Find $x\\;+\\left(1/2\\right)$, where X\\quad is  LEFT!") == plain
    assert overlap.normalise("\uff26ind x\u00a01\u20442 where x is _left_") == plain
    assert overlap.normalise("1\\,000") == ("1000",)
    assert overlap.normalise("x \\leftarrow y") == ("x", "leftarrow", "y")
    assert overlap.normalise("stra\u00dfe") == ("strasse",)
    assert overlap.normalise(" \n!?") == ()


def test_a_leak_in_other_dress_is_found() -> None:
    """S-B8: changed case, punctuation and LaTeX spacing; the shared n-grams are named."""
    exam = overlap.index([EXAM])
    leak = EXAM.upper().replace(" ", " \\, ").replace("CLIPS", "$clips$;")
    assert exam.shared(leak)
    assert exam.shared(f"Once {TEN}!") == (TEN,)


def test_nine_shared_words_are_kept() -> None:
    """S-B8: a 9-gram overlap is no overlap."""
    exam = overlap.index([EXAM])
    assert exam.shared("Natalia sold one two three four five six seven and more things") == ()
    assert overlap.index([EXAM], n=9).shared("Natalia sold one two three four five six seven and more things")


def test_short_problems_are_compared_whole() -> None:
    """S-B8: under ten words, the whole problem or nothing."""
    exam = overlap.index(["What is 2+2?"])
    assert exam.shared("what is (2 + 2)") == ("what is 2 2",)
    assert exam.shared("what is 2 2 plus one more number than that today") == ()
    assert exam.shared("what is 2") == ()


def test_nothing_shares_nothing() -> None:
    assert overlap.index(["", "?!"]).digests == frozenset()
    assert overlap.index([EXAM]).shared("") == ()
    with pytest.raises(ValueError, match="at least one word"):
        overlap.index([EXAM], n=0)


@given(st.text(), st.integers(1, 12))
def test_every_text_overlaps_itself(text: str, n: int) -> None:
    words = overlap.normalise(text)
    assert bool(overlap.index([text], n=n).shared(text)) == bool(words)
    assert overlap.normalise(" ".join(words)) == words


@given(st.lists(st.sampled_from("ab"), max_size=30), st.lists(st.sampled_from("ab"), max_size=30), st.integers(1, 6))
def test_long_texts_share_exactly_their_common_runs(left: list[str], right: list[str], n: int) -> None:
    shared = overlap.index([" ".join(left)], n=n).shared(" ".join(right))
    if min(len(left), len(right)) >= n:
        runs = {" ".join(left[i : i + n]) for i in range(len(left) - n + 1)}
        assert set(shared) == {run for run in runs if f" {run} " in f" {' '.join(right)} "}


def test_equal_problems_have_equal_digests() -> None:
    """S-B11: sides and ids follow from the normalised text alone."""
    assert overlap.digest("Solve 2x = 4.") == overlap.digest("solve 2X=4")
    assert overlap.digest("Solve 2x = 4.") != overlap.digest("solve 2x=5")
    assert len(overlap.digest("")) == 64
