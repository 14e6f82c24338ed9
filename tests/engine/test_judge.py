"""Gates, rule by rule, in the order in which they are asked (DESIGN §4)."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.toy_kinds import Make, toy_kind
from posttrain.engine.expand import Graph, Node, Source
from posttrain.engine.judge import Bench, decide, exit_code, machine_has
from posttrain.spec.gate import Gate, Metric, Verdict
from posttrain.spec.knobs import Resources
from posttrain.spec.stage import Role

MANY = {"parts": Role(("data",), "parts", many=True)}


def gate(**fields: Any) -> Gate:
    fields.setdefault("metric", "m")
    if not {"at_least", "at_most", "equals"} & fields.keys():
        fields["at_least"] = Decimal("0.5")
    return Gate(**fields)


def node(id: str, *above: str, wait: tuple[str, ...] = (), **gates: Gate) -> Node:
    inputs = {"parts": tuple(Source(node=one) for one in above)}
    kind = toy_kind("toy", MANY)
    stage = id.partition("/")[0]
    return Node(id, stage, kind, {}, Make(), inputs, 0, id, gates, wait, Resources(), None, 0)


def bench(*nodes: Node, only: tuple[str, ...] | None = None, has: tuple[str, ...] = ()) -> Bench:
    return Bench(Graph({one.id: one for one in nodes}, ()), only=only, has=lambda need: need in has)


def judged(
    gates: Mapping[str, Gate], metrics: Mapping[str, Metric] | str, has: tuple[str, ...] = ()
) -> dict[str, Verdict]:
    one = node("a", **gates)
    return {verdict.gate: verdict for verdict in bench(one, has=has).judge(one, metrics)}


@pytest.mark.parametrize(
    ("condition", "bound", "metric", "verdict"),
    [
        ("at_least", "0.5", Metric(0.5), "pass"),
        ("at_least", "0.5", Metric(0.4999), "fail"),
        ("at_most", "0.3", Metric(0.3), "pass"),
        ("at_most", "0.3", Metric(0.1 + 0.2), "fail"),
        ("equals", "0", Metric(0), "pass"),
        ("equals", "0", Metric(1), "fail"),
        ("at_least", "0.95", Metric(0.95), "pass"),
        ("at_least", "0.95", Metric(0.94, k=95, n=100), "pass"),
        ("at_least", "0.333334", Metric(0.333334, k=1, n=3), "fail"),
        ("at_most", "0.3333333333333333", Metric(1 / 3, k=1, n=3), "fail"),
        ("at_least", "0", Metric(0.0, k=0, n=0), "pass"),
    ],
)
def test_point_compares_the_exact_fraction_or_the_number_as_written(
    condition: str, bound: str, metric: Metric, verdict: str
) -> None:
    assert decide(gate(**{condition: Decimal(bound)}), metric)[0] == verdict


@pytest.mark.parametrize(
    ("condition", "low", "high", "verdict"),
    [
        ("at_least", 0.5, 0.9, "pass"),
        ("at_least", 0.49, 0.9, "inconclusive"),
        ("at_least", 0.1, 0.5, "inconclusive"),
        ("at_least", 0.1, 0.49, "fail"),
        ("at_most", 0.1, 0.5, "pass"),
        ("at_most", 0.4, 0.6, "inconclusive"),
        ("at_most", 0.51, 0.6, "fail"),
        ("equals", 0.5, 0.5, "pass"),
        ("equals", 0.4, 0.6, "inconclusive"),
        ("equals", 0.5, 0.6, "inconclusive"),
        ("equals", 0.6, 0.7, "fail"),
    ],
)
def test_interval_is_wholly_good_or_wholly_bad_or_undecided(
    condition: str, low: float, high: float, verdict: str
) -> None:
    found = decide(gate(**{condition: Decimal("0.5"), "decide": "interval"}), Metric(0.5, low=low, high=high))
    assert found[0] == verdict


@pytest.mark.parametrize(
    ("fields", "metric", "said"),
    [
        ({}, None, "not measured"),
        ({}, Metric(None, "the suite is empty"), "the suite is empty"),
        ({}, Metric(float("nan")), "not a finite number"),
        ({}, Metric(float("inf")), "not a finite number"),
        ({"min_n": 100}, Metric(1.0, n=99), "99 items; at least 100"),
        ({"min_n": 100}, Metric(1.0), "does not say of how many"),
        ({"decide": "interval"}, Metric(1.0), "no interval"),
        ({"decide": "interval"}, Metric(1.0, low=float("nan"), high=1.0), "no interval"),
    ],
)
def test_unknown_is_inconclusive_never_a_pass(fields: dict[str, Any], metric: Metric | None, said: str) -> None:
    value, reason = decide(gate(**fields), metric)
    assert value == "inconclusive"
    assert said in reason


def test_enough_items_are_enough() -> None:
    assert decide(gate(min_n=100), Metric(1.0, n=100))[0] == "pass"


def test_an_unmet_condition_may_be_inconclusive_instead() -> None:
    assert decide(gate(unmet="inconclusive"), Metric(0.1))[0] == "inconclusive"
    assert decide(gate(unmet="inconclusive", decide="interval"), Metric(0.1, low=0.0, high=0.2))[0] == "inconclusive"


def test_an_absent_requirement_comes_first() -> None:
    found = judged({"g": gate(requires=("macos",), needs=("other",)), "other": gate(metric="x")}, {})["g"]
    assert (found.value, found.absent) == ("not_run", "macos")
    assert judged({"g": gate(requires=("macos",))}, {"m": Metric(1.0)}, has=("macos",))["g"].value == "pass"


def test_a_gate_that_is_needed_must_have_passed() -> None:
    gates = {"late": gate(needs=("early",)), "early": gate(metric="e")}
    assert judged(gates, {"m": Metric(1.0), "e": Metric(1.0)})["late"].value == "pass"
    for early in (Metric(0.0), Metric(None, "unknown")):
        found = judged(gates, {"m": Metric(1.0), "e": early})
        assert (found["late"].value, found["late"].reason) == ("not_run", "gate early has not passed")
    circle = {"a": gate(needs=("b",)), "b": gate(needs=("a",))}
    assert {verdict.value for verdict in judged(circle, {"m": Metric(1.0)}).values()} == {"not_run"}


def test_a_node_that_has_not_run_has_no_verdict() -> None:
    found = judged({"g": gate()}, "it failed")["g"]
    assert (found.value, found.reason, found.evidence) == ("not_run", "it failed", None)


def test_a_pass_stands_on_passes() -> None:
    """With a stop gate above it not passed, a pass becomes not_run; a fail stays one."""
    top, middle, bottom = node("top", g=gate()), node("middle", "top"), node("bottom", "middle", g=gate())
    for above, below, value in ((0.0, 1.0, "not_run"), (0.0, 0.0, "fail"), (1.0, 1.0, "pass")):
        court = bench(top, middle, bottom)
        court.judge(top, {"m": Metric(above)})
        court.judge(middle, {})
        (found,) = court.judge(bottom, {"m": Metric(below)})
        assert found.value == value
        assert (found.reason == "a pass stands on passes: gate g of top is fail") == (value == "not_run")


def test_a_warn_gate_blocks_nothing_and_stands_above_nobody() -> None:
    top, bottom = node("top", g=gate(severity="warn")), node("bottom", "top", g=gate())
    court = bench(top, bottom)
    assert court.may_run(bottom) == "", "nobody waits for a warn gate"
    court.judge(top, {"m": Metric(0.0)})
    assert court.may_run(bottom) == ""
    assert court.judge(bottom, {"m": Metric(1.0)})[0].value == "pass"
    assert exit_code(court.verdicts, ()) == 0


def test_all_members_of_the_stages_above_are_judged_first() -> None:
    """S-A9: one member that fails its gate stops the whole stage's dependants."""
    members = [node(f"top/{name}", g=gate()) for name in "xy"]
    below = node("below/x", "top/x")
    last = node("last", "below/x")
    court = bench(*members, below, last)
    assert court.may_run(below) is None
    court.judge(members[0], {"m": Metric(1.0)})
    assert court.may_run(below) is None, "the other member is not judged"
    court.judge(members[1], {"m": Metric(0.0)})
    refusal = "gate g of top/y is fail"
    assert (court.may_run(below), court.may_run(last)) == (refusal, refusal)


def test_a_member_left_out_stands_above_nobody() -> None:
    court = bench(node("top/x", g=gate()), node("top/y", g=gate()), node("below", "top/x"))
    court.leave_out(["top/y"])
    court.judge(node("top/x", g=gate()), {"m": Metric(1.0)})
    assert court.may_run(node("below", "top/x")) == ""


def test_waiting_reads_no_bytes_but_stands_on_the_gates() -> None:
    top, below = node("top", g=gate()), node("below", wait=("top",), g=gate())
    court = bench(top, below)
    assert court.may_run(below) is None
    court.judge(top, {"m": Metric(0.0)})
    assert court.may_run(below) == "gate g of top is fail"


def test_waiting_for_a_stage_that_is_off_counts_its_gates_as_not_run() -> None:
    below = replace(node("below", g=gate()), wait_off=("top",))
    court = bench(below)
    assert "top" in (court.may_run(below) or "")
    assert court.judge(below, {"m": Metric(1.0)})[0].value == "not_run"


def test_a_gate_that_is_off_or_not_chosen_does_not_exist() -> None:
    one = node("a", quiet=gate(off=True), g=gate(), h=gate())
    assert [verdict.gate for verdict in bench(one).judge(one, {"m": Metric(1.0)})] == ["g", "h"]
    assert [verdict.gate for verdict in bench(one, only=("h",)).judge(one, {})] == ["h"]
    assert [verdict.gate for verdict in bench(one, only=("a.g",)).judge(one, {})] == ["g"]
    assert bench(one, only=("b.g",)).judge(one, {}) == ()


def test_a_gate_speaks_its_own_sentence() -> None:
    found = judged({"g": gate(says={"fail": "The model did not learn."})}, {"m": Metric(0.1)})["g"]
    assert found.reason == "The model did not learn."
    assert found.condition == "at_least 0.5"


def verdict(value: Any, *, severity: Any = "stop", absent: str = "") -> Verdict:
    return Verdict("g", "n", value, severity, "m", "at_least 1", None, "", absent)


@pytest.mark.parametrize(
    ("verdicts", "failures", "code"),
    [
        ([], [], 0),
        ([verdict("pass")], [], 0),
        ([verdict("fail")], [], 1),
        ([verdict("inconclusive")], [], 3),
        ([verdict("not_run")], [], 3),
        ([verdict("not_run", absent="macos")], [], 4),
        ([verdict("inconclusive"), verdict("fail")], [], 1),
        ([verdict("fail"), verdict("not_run", absent="macos")], [], 4),
        ([verdict("fail", severity="warn")], [], 0),
        ([verdict("not_run", severity="warn", absent="macos")], [], 0),
        ([verdict("fail")], [7], 7),
        ([], [7, 6], 7),
        ([], [7, 8], 8),
        ([], [8, 5], 5),
        ([verdict("fail")], [5, 130, 6], 130),
        ([verdict("not_run")], [6], 6),
        ([verdict("not_run")], [2], 2),
    ],
)
def test_the_exit_code_is_the_first_that_holds(verdicts: list[Verdict], failures: list[int], code: int) -> None:
    """S-A8: 130, 5, 8, 7, 6, 4, 1, 3, else 0; only stop gates enter."""
    assert exit_code(verdicts, failures) == code


def test_a_machine_is_not_known_to_have_what_nobody_can_check() -> None:
    assert not machine_has("a warp drive")
    assert isinstance(machine_has("nodejs"), bool)


@given(st.integers(0, 400), st.integers(1, 400), st.integers(0, 1000))
def test_point_never_rounds(k: int, n: int, thousandths: int) -> None:
    bound = Decimal(thousandths) / 1000
    found = decide(gate(at_least=bound), Metric(k / n, k=k, n=n))[0]
    assert found == ("pass" if k * 1000 >= thousandths * n else "fail")
