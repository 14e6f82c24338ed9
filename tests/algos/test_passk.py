"""Pass@K against fractions, enumeration and the specification's vectors; consensus against the authors' rule."""

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.algos.passk import consensus, mean_pass_at_k, pass_at_k, pass_curve


def test_every_count_up_to_32_is_exact():
    """S-C4: F3 to 1e-12 for all n ≤ 32, every c and k."""
    for n in range(1, 33):
        for k in range(1, n + 1):
            for c in range(n + 1):
                exact = 1 - Fraction(comb(n - c, k), comb(n, k))
                assert abs(pass_at_k(n, c, k) - exact) < 1e-12


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (16, 1, 8, 0.5),
        (16, 2, 8, 0.766667),
        (16, 4, 8, 0.961538),
        (16, 8, 8, 0.9999222999),
        (10, 3, 5, 0.916667),
        (8, 1, 4, 0.5),
        (4, 2, 2, 0.833333),
        (5, 1, 5, 1.0),
        (5, 0, 5, 0.0),
    ],
)
def test_vectors_of_the_specification(n: int, c: int, k: int, expected: float):
    """S-C4: the vectors of §5."""
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=5e-7)


def test_it_is_the_share_of_draws_that_hold_a_correct_sample():
    for n, c, k in [(5, 2, 3), (6, 1, 2), (7, 4, 4), (4, 0, 2)]:
        draws = list(combinations([True] * c + [False] * (n - c), k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-15)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 2), (4, -1, 2), (0, 0, 1)])
def test_a_question_that_n_samples_cannot_answer_is_an_error(n: int, c: int, k: int):
    """S-C4: k > n is an error."""
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


@given(st.integers(1, 40), st.data())
def test_more_correct_and_more_tries_never_lower_it(n: int, data: st.DataObject):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    here = pass_at_k(n, c, k)
    assert pass_at_k(n, c, 1) == c / n
    assert here == pass_curve(n, k)[c]
    assert c == n or pass_at_k(n, c + 1, k) >= here
    assert k == n or pass_at_k(n, c, k + 1) >= here


def test_the_mean_over_problems_is_exact_so_that_ties_are_ties():
    counts = [(16, 1), (16, 2), (16, 1)]
    expected = sum(1 - Fraction(comb(16 - c, 8), comb(16, 8)) for _, c in counts) / 3
    assert mean_pass_at_k(counts, 8) == expected
    assert mean_pass_at_k(list(reversed(counts)), 8) == expected
    with pytest.raises(ValueError):
        mean_pass_at_k([], 1)


def votes(answers: str, gold: str) -> list[tuple[str | None, bool]]:
    return [(None if answer == "-" else answer, answer == gold) for answer in answers]


def test_consensus_shares_a_tie_between_its_modes():
    """S-E5: cons@n as in the authors' scripts, the vectors of §5."""
    assert consensus(votes("33557", "5")) == 0.5
    assert consensus(votes("355", "5")) == 1.0
    assert consensus(votes("335", "5")) == 0.0


def test_a_sample_without_answer_does_not_vote():
    assert consensus(votes("---5", "5")) == 1.0
    assert consensus(votes("----", "5")) == 0.0
