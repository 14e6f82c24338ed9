"""`keep_going`: a refused gate stops nobody, and what is said of anybody stays the same."""

from decimal import Decimal
from pathlib import Path

from engine.toy_kinds import RECIPE, Bed, Make, toy_kind
from posttrain.engine.expand import Graph, Node, Source
from posttrain.engine.judge import Bench
from posttrain.spec.gate import Gate, Metric
from posttrain.spec.knobs import Resources
from posttrain.spec.stage import Role

REFUSED = ("stage.train.score=0.2",)
GOING = "keep_going = true\n"


def going(root: Path) -> Bed:
    return Bed(root, RECIPE.replace("seed = 7\n", f"seed = 7\n{GOING}"))


def test_what_depends_on_a_refused_gate_runs_and_the_verdicts_stay(tmp_path: Path) -> None:
    """The gate fails, what stands on it is not_run, exit 1, although its artifact is there."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    stopped, worked = Bed(tmp_path / "a", RECIPE).run(*REFUSED)
    result, further = going(tmp_path / "b").run(*REFUSED)
    assert "fuse" not in worked and further[-2:] == ["fuse", "exam"]
    assert result.code == stopped.code == 1
    assert result.fates["exam"] == "ran" and stopped.fates["exam"] == "blocked"
    said = {verdict.node: verdict.value for verdict in result.verdicts}
    assert said == {verdict.node: verdict.value for verdict in stopped.verdicts}
    assert said["train/algebra"] == "fail" and said["fuse"] == said["exam"] == "not_run"
    reasons = {verdict.node: verdict.reason for verdict in result.verdicts}
    assert reasons["fuse"].startswith("a pass stands on passes: gate good of train/algebra is fail")


def test_the_plan_says_it_too(tmp_path: Path) -> None:
    bed = going(tmp_path)
    bed.run(*REFUSED, until=("train",))
    assert bed.actions(*REFUSED)["fuse"][0] == "run"
    assert bed.actions(*REFUSED, "keep_going=false")["fuse"] == ("blocked", "gate good of train/algebra is fail")


def test_a_second_run_keeps_all_and_exits_alike(tmp_path: Path) -> None:
    bed = going(tmp_path)
    bed.run(*REFUSED)
    result, worked = bed.run(*REFUSED)
    assert (result.code, worked) == (1, [])


def test_a_failure_still_stops_what_reads_it(tmp_path: Path) -> None:
    result, _ = going(tmp_path).run("stage.train.trouble=failed")
    assert result.code == 7 and result.fates["fuse"] == "blocked"


def test_waiting_for_a_stage_that_is_off_stops_nobody_and_counts_as_not_run() -> None:
    gates = {"good": Gate(metric="m", at_least=Decimal("0.5"))}
    kind = toy_kind("toy", {"parts": Role(("data",), "parts", many=True)})
    top = Node("a", "a", kind, {}, Make(), {}, 0, "a", gates, (), Resources(), None, 0, wait_off=("gone",))
    below = Node("b", "b", kind, {}, Make(), {"parts": (Source(node="a"),)}, 0, "b", gates, (), Resources(), None, 0)
    bench = Bench(Graph({"a": top, "b": below}, ("gone",)), keep_going=True)
    assert bench.may_run(top) == ""
    assert [verdict.value for verdict in bench.judge(top, {"m": Metric(1.0)})] == ["not_run"]
    assert bench.may_run(below) == ""
    assert [verdict.value for verdict in bench.judge(below, {"m": Metric(1.0)})] == ["not_run"]
