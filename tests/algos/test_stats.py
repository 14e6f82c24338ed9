"""Intervals that cover, pairs that pair, χ² as scipy computes it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy import stats as oracle

from posttrain.algos.chance import detectable, gamma_q, uniform_p
from posttrain.algos.stats import bootstrap_mean, bootstrap_means, paired_gain, wilson


def test_equal_values_and_seed_give_equal_intervals():
    values = np.random.default_rng(0).random(300)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(list(values), seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_it_agrees_with_scipy():
    values = np.random.default_rng(3).random(400)
    ours = bootstrap_mean(values, seed=0)
    theirs = oracle.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0))
    assert ours.value == pytest.approx(values.mean())
    assert ours.n == 400
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=2e-3)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=2e-3)


def test_the_interval_holds_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(7)
    samples = [rng.binomial(8, 0.3, size=200) / 8 for _ in range(200)]
    inside = [i.low <= 0.3 <= i.high for i in (bootstrap_mean(s, seed=0, draws=2000) for s in samples)]
    assert 180 <= sum(inside) <= 198


def test_many_metrics_share_their_resamples():
    table = np.random.default_rng(1).random((4, 50))
    assert bootstrap_means(table, seed=5) == [bootstrap_mean(row, seed=5) for row in table]
    low, high = bootstrap_means(np.stack([table[0], 1 + table[0]]), seed=5)
    assert high.low == pytest.approx(1 + low.low)


def test_resampling_does_not_depend_on_how_it_is_cut(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(2).random(64)
    whole = bootstrap_mean(values, seed=3)
    monkeypatch.setattr("posttrain.algos.stats._CHUNK", 1000)
    assert bootstrap_mean(values, seed=3) == whole


def test_samples_of_one_problem_are_one_piece_of_evidence():
    rng = np.random.default_rng(4)
    skill = rng.random(100).round()
    clustered = bootstrap_mean(skill, seed=0)
    as_if_independent = bootstrap_mean(np.repeat(skill, 8), seed=0)
    assert clustered.high - clustered.low > 2 * (as_if_independent.high - as_if_independent.low)


@pytest.mark.parametrize("bad", [[], [0.1, float("nan")], [float("inf")]])
def test_nothing_and_not_a_number_are_refused(bad: list[float]):
    with pytest.raises(ValueError):
        bootstrap_mean(bad, seed=0)


def test_pairing_sees_what_two_single_intervals_cannot():
    rng = np.random.default_rng(5)
    before = rng.random(200)
    after = before + 0.02 + rng.normal(0, 0.01, size=200)
    gain = paired_gain(before, after, seed=0)
    assert gain.low > 0
    assert bootstrap_mean(before, seed=0).high > bootstrap_mean(after, seed=0).low
    assert gain.value == pytest.approx(after.mean() - before.mean())


def test_exchanging_before_and_after_turns_the_sign():
    rng = np.random.default_rng(6)
    a, b = rng.random(50), rng.random(50)
    there, back = paired_gain(a, b, seed=0), paired_gain(b, a, seed=0)
    assert back.value == pytest.approx(-there.value)
    assert back.low == pytest.approx(-there.high)
    with pytest.raises(ValueError):
        paired_gain(a, b[:-1], seed=0)


def test_the_detectable_difference_is_seen_four_times_in_five():
    """S-C10: 2.8 · sd / √n is what a 95 % interval over n items tells from zero with power 80 %."""
    assert detectable(0.3, 2000) == pytest.approx(0.018783, abs=1e-6)
    rng, n, sd = np.random.default_rng(8), 400, 0.3
    seen = [bootstrap_mean(rng.normal(detectable(sd, n), sd, size=n), seed=0, draws=1000).low > 0 for _ in range(200)]
    assert 140 <= sum(seen) <= 180
    with pytest.raises(ValueError):
        detectable(0.3, 0)


@given(st.floats(0.05, 40), st.floats(0, 120))
def test_the_incomplete_gamma_equals_scipy(a: float, x: float):
    assert gamma_q(a, x) == pytest.approx(special.gammaincc(a, x), abs=1e-12)


@given(st.lists(st.integers(0, 200), min_size=2, max_size=6).filter(sum))
def test_the_chi_square_of_keys_equals_scipy(counts: list[int]):
    assert uniform_p(counts) == pytest.approx(oracle.chisquare(counts).pvalue, abs=1e-10)


def test_every_key_a_is_not_chance_and_a_balanced_one_is():
    """S-E5: a suite whose right option is always "A" is found out."""
    assert uniform_p([198, 0, 0, 0]) < 1e-40
    assert uniform_p([50, 49, 51, 48]) > 0.9
    assert uniform_p([]) == uniform_p([7]) == uniform_p([0, 0]) == 1.0


def test_a_gamma_that_does_not_exist_is_refused():
    with pytest.raises(ValueError):
        gamma_q(0, 1)


def test_wilson_is_the_score_interval() -> None:
    """Against Newcombe 1998, table I: 81/263, 15/148, 0/20 and 1/29."""
    for right, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = wilson(right, of)
        assert (round(found.low, 4), round(found.high, 4), found.n) == (low, high, of)
        turned = wilson(of - right, of)
        assert abs(turned.high - (1 - found.low)) < 1e-12
    for right, of in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="no proportion"):
            wilson(right, of)
