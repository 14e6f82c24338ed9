"""Which checkpoint a probe takes, on rows made by hand."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posttrain.evals.passk import Candidate, checkpoints, choose, held_out, metrics, record
from posttrain.evals.tally import Item

N = 16


def item(number: int, c: int, n: int = N) -> Item:
    return Item("problems", f"p{number}", "algebra", n, c, 20.0, 0.0, 3, float(2 * c > n))


def candidate(step: int, counts: list[int]) -> Candidate:
    return Candidate(step, [item(number, c) for number, c in enumerate(counts)])


SHARP = [16] * 6 + [0] * 6
"""Few problems solved always: pass@1 .5, pass@8 .5."""
WIDE = [2] * 12
"""Every problem solved sometimes: pass@1 .125, pass@8 .767."""
WEAK = [1] * 12


def test_a_middle_checkpoint_with_the_best_pass_at_k_is_taken():
    """S-C5: the last has the best pass@1, a middle one the best pass@8: the middle one; runners-up recorded."""
    candidates = [candidate(10, WEAK), candidate(20, WIDE), candidate(30, SHARP)]
    choice = choose(candidates, k=8)
    assert (choice.chosen, choice.runner_up) == (20, 30), "30 and 10 tie in pass@8; pass@1 decides"
    assert choice.lead is not None
    assert choice.lead.value == pytest.approx(0.766667 - 0.5, abs=1e-6)
    tried = record(candidates, choice, (8, 1), by="pass@k", lead="any")["candidates"]
    assert [each["step"] for each in tried] == [10, 20, 30]
    assert tried[1]["problems"]["p0"] == [16, 2]
    assert max(tried, key=lambda each: each["pass@1"])["step"] == 30


def test_the_last_is_a_candidate():
    """S-C5: the last is a candidate, and wins when it is best."""
    assert choose([candidate(1, WEAK), candidate(2, WIDE)], k=8).chosen == 2


def test_ties_go_to_pass_at_1_then_to_the_smaller_step_number():
    """S-C5: the tie-break by rule: with equal pass@8, pass@1 decides; then the step's number, not its name."""
    one, ten = [1, 9], [1, 10]
    equal_at_8 = [candidate(100, [9, 16]), candidate(20, [10, 16])]
    assert equal_at_8[0].score(8) == equal_at_8[1].score(8) == 1
    assert choose(equal_at_8, k=8).chosen == 20
    assert choose([candidate(100, one), candidate(9, one), candidate(30, one)], k=8).chosen == 9
    assert choose([candidate(9, one), candidate(30, ten)], k=8).chosen == 30


def test_an_unclear_lead_leaves_the_last():
    """S-C5: a lead inside the paired interval is noise: the last is kept, and the reason says so."""
    rng = np.random.default_rng(0)
    last = rng.integers(0, 6, size=80)
    noisy = np.clip(last + rng.integers(-2, 3, size=80), 0, N)
    ahead = noisy if noisy.mean() > last.mean() else np.clip(2 * last - noisy, 0, N)
    candidates = [candidate(1, ahead.tolist()), candidate(2, last.tolist())]
    anyway, clear = (choose(candidates, k=1, lead=lead) for lead in ("any", "clear"))
    assert anyway.chosen == 1
    assert clear.chosen == 2
    assert clear.best == 1
    assert "not clear" in clear.why
    assert clear.lead is not None
    assert clear.lead.value < 0


def test_a_clear_lead_wins():
    candidates = [candidate(1, [4] * 80), candidate(2, [2] * 80)]
    choice = choose(candidates, k=1, lead="clear")
    assert choice.chosen == 1
    assert choice.over_last is not None
    assert choice.over_last.low > 0


def test_the_rules_for_ablation():
    candidates = [candidate(10, SHARP), candidate(20, WIDE), candidate(30, WEAK)]
    assert choose(candidates, k=8, by="pass@k").chosen == 20
    assert choose(candidates, k=8, by="pass@1").chosen == 10
    assert choose(candidates, k=8, by="last").chosen == 30


def test_an_only_candidate_is_taken_without_a_lead():
    choice = choose([candidate(0, WEAK)], k=8, lead="clear")
    assert (choice.chosen, choice.runner_up, choice.lead, choice.over_last) == (0, None, None, None)
    found = metrics([candidate(0, WEAK)], 0, (8,), by="pass@k", lead="clear")
    assert found["lead"].value is None
    assert found["lead"].reason == "the only candidate"


@given(st.lists(st.lists(st.integers(0, 8), min_size=5, max_size=5), min_size=1, max_size=5), st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_what_is_chosen_is_never_beaten_and_order_does_not_matter(counts: list[list[int]], k: int):
    candidates = [Candidate(s, [item(i, c, 8) for i, c in enumerate(each)]) for s, each in enumerate(counts)]
    choice = choose(candidates, k=k)
    scores = {each.step: each.score(k) for each in candidates}
    assert scores[choice.chosen] == max(scores.values())
    assert choose(candidates[::-1], k=k) == choice


def test_scores_are_exact():
    assert candidate(1, [1, 2]).score(8) == (Fraction(1, 2) + Fraction(23, 30)) / 2


def test_picking_the_best_of_equals_flatters_and_the_other_half_tells():
    """S-C4: the chosen score on problems that the choice did not see."""
    rng = np.random.default_rng(1)
    flattered: list[float] = []
    for _ in range(30):
        same = [Candidate(s, [item(i, int(c)) for i, c in enumerate(rng.binomial(N, 0.3, 40))]) for s in range(6)]
        worth = held_out(same, k=1).value
        assert worth is not None
        flattered.append(float(max(each.score(1) for each in same)) - worth)
    assert np.mean(flattered) > 0.005
    assert held_out([candidate(1, [4])], k=8).value is None
    assert held_out([candidate(1, WIDE)], k=8).value == pytest.approx(0.766667, abs=1e-6)


def test_metrics_are_of_the_chosen_and_of_every_checkpoint():
    """S-C4: pass@1, pass@k, interval, length, truncated, distinct answers of each, lead of the chosen."""
    candidates = [candidate(10, WEAK), candidate(20, WIDE), candidate(30, SHARP)]
    found = metrics(candidates, 20, (8, 4), by="pass@k", lead="any")
    assert found["step"].value == 20
    for name in ("pass@1", "pass@4", "pass@8", "truncated", "length", "distinct", "cons@16"):
        assert found[name] == found[f"{name}/step-20"]
        assert {f"{name}/step-{step}" for step in (10, 20, 30)} <= set(found)
    assert found["pass@8/step-10"].n == 12
    assert found["lead"].value == pytest.approx(0.266667, abs=1e-6)


def test_checkpoints_come_in_order_of_number(tmp_path: Path):
    """S-C5: by number, not by name; what is no checkpoint is left out; without steps/ the model itself."""
    for name in ("step-9", "step-100", "step-20", "step-30.part", "best"):
        (tmp_path / "steps" / name).mkdir(parents=True)
    assert list(checkpoints(tmp_path)) == [9, 20, 100]
    assert checkpoints(tmp_path)[100] == tmp_path / "steps" / "step-100"
    assert checkpoints(tmp_path / "steps" / "best") == {0: tmp_path / "steps" / "best"}


def test_noise_moves_the_choice_without_a_clear_lead_and_seldom_with_one():
    """S-C5: five equal checkpoints, 80 problems: `any` takes another than the last in four of five probes."""
    rng = np.random.default_rng(0)
    moved = {"any": 0, "clear": 0}
    for _ in range(40):
        skill = rng.beta(0.4, 1.2, size=80)
        equal = [candidate(step, rng.binomial(N, skill).tolist()) for step in (40, 80, 120, 160, 200)]
        moved["any"] += choose(equal, k=8, lead="any").chosen != 200
        moved["clear"] += choose(equal, k=8, lead="clear").chosen != 200
    assert moved["any"] >= 24
    assert moved["clear"] <= 8
