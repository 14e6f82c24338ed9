"""The learning table: rows from exams, members pooled on their own domains, comparisons with their gates."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posttrain.reports.learning import bound, learning, matrix, pooled
from posttrain.reports.read import read
from posttrain.spec.gate import Metric, Verdict
from reports.recorded import BASE, DOMAINS, SPECIALISTS, Recorder, share, spectrum


def test_one_row_per_model_in_the_order_of_the_pipeline(tmp_path):
    table = learning(read(spectrum(tmp_path)))
    assert [row.label for row in table.rows] == ["base", "specialist", "fused", "final"]
    assert [row.model for row in table.rows] == ["base", "probe/*", "fuse", "rl_math_long"]
    assert table.ks == (1, 8) and table.domains == DOMAINS
    base, specialist = table.rows[:2]
    assert base.scores[1].value == pytest.approx(sum(BASE.values()) / 4, abs=1e-4)
    assert specialist.own and not base.own
    assert specialist.scores[1].value == pytest.approx(sum(SPECIALISTS.values()) / 4, abs=1e-4)
    assert specialist.scores[1].n == 2000


def test_a_member_counts_on_its_own_domain_alone(tmp_path):
    table = learning(read(spectrum(tmp_path)))
    assert {d: table.rows[1].domains[d][1].value for d in DOMAINS} == SPECIALISTS


def test_comparisons_carry_gain_gate_and_bound(tmp_path):
    found = {one.node: one for one in learning(read(spectrum(tmp_path))).comparisons}
    kept = found["spectrum_kept/calculus"]
    assert (kept.label, kept.of, kept.bound) == ("specialist → fused, calculus", "pass@8", -0.08)
    assert (kept.verdicts[0].value, kept.verdicts[0].severity) == ("inconclusive", "warn")
    assert found["gain_rl"].label == "fused → final" and found["gain_rl"].gain.value == 0.11


def test_two_comparisons_of_the_same_exams_are_told_apart_by_their_domains(tmp_path):
    recorder = Recorder(tmp_path)
    for exam in ("exam_maths", "exam_final"):
        recorder.node(exam, "evaluate", {}, type="scores")
    for id, domains in (("gain_code", ["code"]), ("maths_kept", ["algebra", "geometry"]), ("gain_rl", [])):
        sides = {"before": ["exam_maths"], "after": ["exam_final"]}
        metrics = {"gain": Metric(0.1, n=4)}
        recorder.node(id, "compare", sides, type="scores", metrics=metrics, knobs={"domains": domains})
    labels = [one.label for one in learning(read(recorder.finish())).comparisons]
    assert labels == ["maths → final, code", "maths → final, algebra, geometry", "maths → final"]


def test_a_comparison_of_most_domains_names_those_it_leaves_out(tmp_path):
    recorder = Recorder(tmp_path)
    of = ["algebra", "calculus", "geometry", "statistics"]
    metrics = {f"pass@1/{domain}": Metric(0.1, n=4) for domain in [*of, "code"]}
    for exam in ("exam_maths", "exam_final"):
        recorder.node(exam, "evaluate", {}, type="scores", metrics=metrics)
    sides = {"before": ["exam_maths"], "after": ["exam_final"]}
    recorder.node("kept", "compare", sides, type="scores", knobs={"domains": of})
    (kept,) = learning(read(recorder.finish())).comparisons
    assert kept.label == "maths → final, all but code"


def test_an_exam_that_has_not_run_is_a_row_without_scores(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.node("exam_base", "evaluate", {}, type="scores", metrics={"pass@1": Metric(None, reason="no problem")})
    view = read(recorder.finish())
    (row,) = learning(view).rows
    assert row.scores[1].value is None and row.model == ""
    assert learning(read(Recorder(tmp_path / "empty").finish())).rows == ()


def test_the_matrix_has_every_model_by_domain(tmp_path):
    rows = dict(matrix(read(spectrum(tmp_path)), 1))
    assert list(rows)[1] == "specialist/algebra" and len(rows) == 7
    assert rows["specialist/algebra"]["geometry"].value == pytest.approx(BASE["geometry"] - 0.03)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 900)), min_size=1, max_size=6))
def test_pooling_is_the_mean_over_all_items(parts):
    found = pooled([share(value, n) for value, n in parts])
    n = sum(n for _, n in parts)
    assert found.n == n
    assert found.value == pytest.approx(sum(round(v, 4) * k for v, k in parts) / n)
    assert found.low <= found.value <= found.high


def test_pooling_equal_groups_narrows_the_interval_by_the_root_of_their_number():
    one = share(0.3, 500)
    found = pooled([one] * 4)
    assert found.value - found.low == pytest.approx((one.value - one.low) / math.sqrt(4))


def test_pooling_with_an_unknown_is_unknown():
    assert pooled([share(0.3), Metric(None, reason="not asked")]).value is None
    assert pooled([Metric(0.3, n=5), Metric(0.5, n=5)]).low is None


def test_the_bound_of_a_condition():
    verdict = Verdict("g", "n", "pass", "stop", "gain", "at_least -0.01", None, "")
    assert bound(verdict) == -0.01
    assert bound(Verdict("g", "n", "pass", "stop", "gain", "", None, "")) is None
