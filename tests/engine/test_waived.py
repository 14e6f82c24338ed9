"""What a waiver does at the bench: the verdict stays, what stands below may run and pass, the exit code looks away."""

from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from test_judge import bench, gate, node

from posttrain.engine.expand import Graph
from posttrain.engine.judge import Bench, exit_code
from posttrain.spec.gate import Gate, Metric, Verdict
from posttrain.spec.waiver import Waiver, Waivers

TOP, MIDDLE, BOTTOM = node("top/x", g=gate()), node("middle", "top/x"), node("bottom", "middle", g=gate())


def waiver(name: str) -> Waiver:
    return Waiver(gate=name, reason="experiment", text="we know", approved_by="Ada", expires=date(2031, 5, 9))


def judged(top: float, waivers: Waivers) -> tuple[Bench, Verdict, Verdict]:
    court = Bench(Graph({one.id: one for one in (TOP, MIDDLE, BOTTOM)}, ()), waivers=waivers)
    (above,) = court.judge(TOP, {"m": Metric(top)})
    court.judge(MIDDLE, {})
    (below,) = court.judge(BOTTOM, {"m": Metric(1.0)})
    return court, above, below


def test_a_waived_gate_keeps_its_value_and_lets_the_rest_stand() -> None:
    for name in ("g", "top.g", "top/x.g"):
        court, above, below = judged(0.0, Waivers((waiver(name),)))
        assert (above.value, above.waived) == ("fail", "waived by Ada until 2031-05-09: we know (experiment)")
        assert (below.value, below.waived) == ("pass", "")
        assert court.may_run(MIDDLE) == "" and exit_code(court.verdicts, ()) == 0


def test_a_gate_that_passes_is_not_waived() -> None:
    _, above, _ = judged(1.0, Waivers((waiver("g"),)))
    assert (above.value, above.waived) == ("pass", "")


def test_another_waiver_is_none() -> None:
    court, above, below = judged(0.0, Waivers((waiver("top/y.g"), waiver("bottom.g"))))
    assert (above.value, above.waived, below.value) == ("fail", "", "not_run")
    assert below.waived, "what is not run because of what stands above may be waived itself"
    assert court.may_run(MIDDLE) == "gate g of top/x is fail" and exit_code(court.verdicts, ()) == 1


def test_an_expired_waiver_counts_as_absent_and_is_named() -> None:
    court, above, below = judged(0.0, Waivers((), (waiver("top.g"),)))
    assert above.waived == "" and above.reason.endswith("; the waiver by Ada expired on 2031-05-09")
    assert below.value == "not_run" and exit_code(court.verdicts, ()) == 1


def test_a_failure_is_not_waived() -> None:
    """Exit codes of failures, mismatches and budgets are no gates."""
    court, _, _ = judged(0.0, Waivers((waiver("g"),)))
    for code in (2, 4, 5, 6, 7, 8, 130):
        assert exit_code(court.verdicts, [code]) == code


def test_a_gate_that_needs_a_waived_one_does_not_run() -> None:
    """`needs` asks for a pass; a waiver is none."""
    one = node("a", early=gate(metric="e"), late=gate(needs=("early",)))
    court = Bench(Graph({"a": one}, ()), waivers=Waivers((waiver("early"),)))
    found = {verdict.gate: verdict for verdict in court.judge(one, {"e": Metric(0.0), "m": Metric(1.0)})}
    assert found["late"].value == "not_run" and found["early"].waived


METRICS = st.one_of(
    st.none(),
    st.builds(lambda reason: Metric(None, reason), st.just("unknown")),
    st.builds(lambda v, n: Metric(v, n=n), st.floats(0, 1), st.integers(0, 40)),
    st.builds(lambda k: Metric(k / 20, k=k, n=20, low=max(0, k / 20 - 0.2), high=k / 20 + 0.2), st.integers(0, 20)),
)
GATES = st.builds(
    lambda name, bound, more: Gate(metric="m", **{name: Decimal(bound) / 20}, **more),
    st.sampled_from(("at_least", "at_most", "equals")),
    st.integers(0, 20),
    st.fixed_dictionaries(
        {
            "decide": st.sampled_from(("point", "interval")),
            "unmet": st.sampled_from(("fail", "inconclusive")),
            "severity": st.sampled_from(("stop", "warn")),
            "min_n": st.sampled_from((0, 10)),
            "requires": st.sampled_from(((), ("macos",))),
        }
    ),
)


@given(GATES, METRICS, st.booleans())
def test_a_waiver_never_changes_a_value(one: Any, metric: Metric | None, whole: bool) -> None:
    """Whatever the gate and its metric, what a waived gate says is what it said before."""
    here = node("a", g=one)
    metrics: Any = {} if metric is None else {"m": metric}
    plain = bench(here).judge(here, metrics)[0]
    court = Bench(Graph({"a": here}, ()), waivers=Waivers((waiver("g" if whole else "a.g"),)), has=lambda need: False)
    excused = court.judge(here, metrics)[0]
    assert excused.value == plain.value and excused.reason == plain.reason
    assert bool(excused.waived) == (plain.value != "pass")
    assert exit_code([excused], ()) == 0
