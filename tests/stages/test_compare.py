"""The kind compare: from the rows of two exams to a judged gain, and what the plan says before."""

import json
import statistics
from pathlib import Path

import pytest

from posttrain.data import rows
from posttrain.data.records import Gain, Score
from posttrain.spec.errors import Mismatch, UsageError
from posttrain.spec.gate import Metric
from posttrain.spec.stage import Artifact, Foreseen
from posttrain.stages import compare, kind
from support import FolderContext, artifact

DOMAINS = ("algebra", "geometry")


def sat(folder: Path, right: dict[str, int], *, samples: int = 4, axes: dict[str, str] | None = None) -> Artifact:
    """An exam artifact: id → correct samples; ids begin with their domain."""
    folder.mkdir(parents=True)
    scored = [
        Score(
            id=id,
            domain=id.split("-")[0],
            sample=s,
            correct=s < c,
            outcome="right" if s < c else "wrong",
            answer=str(s),
            text="",
            tokens=3,
            finish="stop",
        )
        for id, c in right.items()
        for s in range(samples)
    ]
    rows.write(folder / "scores.jsonl", scored)
    items = [["problems", id, id.split("-")[0], samples, c] for id, c in right.items()]
    (folder / "report.json").write_text(json.dumps({"items": items}))
    metrics = {"pass@1": Metric(0.5, n=len(right))}
    metrics |= {f"pass@1/{d}": Metric(0.5, n=sum(i.startswith(d) for i in right)) for d in DOMAINS}
    return artifact(folder, "scores", axes=axes or {}, metrics=metrics, kind="evaluate")


def ids(each: int) -> list[str]:
    return [f"{domain}-{i}" for domain in DOMAINS for i in range(each)]


def run(tmp_path: Path, knobs: compare.Knobs, **inputs: tuple[Artifact, ...]) -> FolderContext:
    ctx = FolderContext(tmp_path / "node", knobs, inputs)
    ctx.metrics = dict(compare.run(ctx).metrics)
    return ctx


def test_the_gain_is_a_function_of_the_rows(tmp_path: Path):
    """S-C10: rows per item, gain with interval, per domain; measuring the artifact again gives the same."""
    before = sat(tmp_path / "before", dict.fromkeys(ids(60), 1))
    after = sat(tmp_path / "after", {id: 3 if id.startswith("a") else 2 for id in ids(60)})
    ctx = run(tmp_path, compare.Knobs(), before=(before,), after=(after,))
    assert ctx.metrics["gain"] == Metric(0.375, n=120, low=ctx.metrics["gain"].low, high=ctx.metrics["gain"].high)
    assert ctx.metrics["gain/algebra"].value == 0.5
    assert len(rows.read_all(ctx.out / "gains.jsonl", Gain)) == 120
    made = artifact(ctx.out, "scores")
    assert compare.measure(made, compare.Knobs()) == ctx.metrics
    assert json.loads((ctx.out / "report.json").read_text())["k"] == 1


def test_exams_whose_programs_were_graded_in_different_ways_are_not_compared(tmp_path: Path):
    """S-D14: what was run and what was only computed are other measures; no fingerprint says which one it was."""
    exams = {name: sat(tmp_path / name, dict.fromkeys(ids(10), 1)) for name in ("ran", "computed", "maths")}
    for name, way in (("ran", "run"), ("computed", "computed"), ("maths", None)):
        report = exams[name].file("report.json")
        report.write_text(json.dumps({**json.loads(report.read_text()), "programs": way}))
    with pytest.raises(Mismatch, match="those of computed computed, those of ran run"):
        run(tmp_path, compare.Knobs(), before=(exams["ran"],), after=(exams["computed"],))
    assert run(tmp_path, compare.Knobs(), before=(exams["ran"],), after=(exams["maths"],)).metrics["gain"].value == 0


def test_members_are_held_against_one_exam_each_on_its_own_domain(tmp_path: Path):
    """S-C10: gain_specialist: before is one exam of all domains, after is the members, own domains pooled."""
    base = sat(tmp_path / "base", dict.fromkeys(ids(10), 1))
    members = tuple(
        sat(tmp_path / d, {id: 4 if id.startswith(d) else 0 for id in ids(10)}, axes={"domain": d}) for d in DOMAINS
    )
    own = run(tmp_path / "own", compare.Knobs(own=True), before=(base,), after=members)
    assert own.metrics["gain"].value == 0.75
    assert {row.member for row in rows.read(own.out / "gains.jsonl", Gain)} == set(DOMAINS)
    pooled = run(tmp_path / "all", compare.Knobs(), before=(base,), after=members)
    assert pooled.metrics["gain"].value == pytest.approx((0.75 - 0.25) / 2)


def test_a_member_before_gives_its_domain_to_an_exam_without_one(tmp_path: Path):
    """S-C10: spectrum_kept: each specialist against the fused model, on the specialist's domain, in pass@k."""
    specialist = sat(tmp_path / "s", dict.fromkeys(ids(10), 2), axes={"domain": "geometry"})
    fused = sat(tmp_path / "f", {id: 1 if id.startswith("g") else 0 for id in ids(10)})
    ctx = run(tmp_path, compare.Knobs(own=True, metric="pass@k", k=2), before=(specialist,), after=(fused,))
    assert ctx.metrics["gain"].value == pytest.approx(0.5 - 5 / 6)
    assert {row.domain for row in rows.read(ctx.out / "gains.jsonl", Gain)} == {"geometry"}
    default = run(tmp_path / "k", compare.Knobs(own=True, metric="pass@k"), before=(specialist,), after=(fused,))
    assert default.metrics["before"].value == 1.0, "k is the largest both sides have"


def test_members_on_both_sides_are_paired_by_their_axis(tmp_path: Path):
    before = tuple(sat(tmp_path / f"b-{d}", dict.fromkeys(ids(5), 1), axes={"domain": d}) for d in DOMAINS)
    after = tuple(sat(tmp_path / f"a-{d}", dict.fromkeys(ids(5), 2), axes={"domain": d}) for d in DOMAINS)
    assert run(tmp_path, compare.Knobs(own=True), before=before, after=after).metrics["gain"].n == 10
    with pytest.raises(UsageError, match="exactly one counterpart"):
        run(tmp_path / "x", compare.Knobs(), before=before, after=(sat(tmp_path / "c", dict.fromkeys(ids(5), 1)),))


def test_a_comparison_may_be_of_some_domains_only(tmp_path: Path):
    """S-C10: `domains` leaves the items of all others out of the gain, of its interval and of its count."""
    before = sat(tmp_path / "before", dict.fromkeys(ids(60), 1))
    after = sat(tmp_path / "after", {id: 3 if id.startswith("a") else 0 for id in ids(60)})
    ctx = run(tmp_path, compare.Knobs(domains=("geometry",)), before=(before,), after=(after,))
    assert (ctx.metrics["gain"].value, ctx.metrics["gain"].n) == (-0.25, 60)
    assert "gain/algebra" not in ctx.metrics
    assert json.loads((ctx.out / "report.json").read_text())["members"] == [{"member": "", "domains": ["geometry"]}]


def test_other_items_and_impossible_questions_are_errors(tmp_path: Path):
    """S-C10: a dropped row's item is a mismatch (exit 6) naming it; K over the samples and `own` alone exit 2."""
    one, two = sat(tmp_path / "1", dict.fromkeys(ids(3), 1)), sat(tmp_path / "2", dict.fromkeys(ids(3)[1:], 1))
    with pytest.raises(Mismatch, match="algebra-0") as caught:
        run(tmp_path / "a", compare.Knobs(), before=(one,), after=(two,))
    assert caught.value.code == 6
    with pytest.raises(UsageError, match="only 4 samples"):
        run(tmp_path / "b", compare.Knobs(metric="pass@k", k=5), before=(one,), after=(one,))
    with pytest.raises(UsageError, match="axis `domain`"):
        run(tmp_path / "c", compare.Knobs(own=True), before=(one,), after=(one,))


def test_without_an_exam_before_the_gain_has_no_value(tmp_path: Path):
    ctx = run(tmp_path, compare.Knobs(), after=(sat(tmp_path / "after", dict.fromkeys(ids(3), 1)),))
    assert ctx.metrics["gain"].value is None
    assert ctx.notes


def foreseen_exam(node: str, *, axes: dict[str, str] | None = None, max_problems: int | None = None) -> Foreseen:
    data = tuple(Foreseen(f"prepare/{d}", "prepare", {"domain": d, "test_size": 500}, {"domain": d}) for d in DOMAINS)
    knobs = {"suites": [{"type": "problems", "split": "test"}], "max_problems": max_problems, "samples": 8}
    return Foreseen(node, "evaluate", knobs, axes or {}, inputs={"data": data})


def test_the_plan_says_which_difference_can_be_seen():
    """S-C10: 2.8 · 0.30 / √items before anything ran, items from the knobs two steps up."""
    base, fused = foreseen_exam("exam_base"), foreseen_exam("exam_fused")
    members = tuple(foreseen_exam(f"exam_specialist/{d}", axes={"domain": d}) for d in DOMAINS)
    (says,) = compare.estimate(compare.Knobs(), {"before": (base,), "after": (fused,)}).remarks
    assert says == "detects a difference of 0.027: 1000 items, sd 0.30 assumed"
    (says,) = compare.estimate(compare.Knobs(own=True), {"before": (base,), "after": members}).remarks
    assert "1000 items" in says
    (says,) = compare.estimate(compare.Knobs(own=True), {"before": members[:1], "after": (fused,)}).remarks
    assert "500 items" in says
    (says,) = compare.estimate(compare.Knobs(domains=DOMAINS[:1]), {"before": (base,), "after": (fused,)}).remarks
    assert "500 items" in says
    (says,) = compare.estimate(compare.Knobs(domains=DOMAINS), {"before": (base,), "after": (fused,)}).remarks
    assert "1000 items" in says
    few = foreseen_exam("few", max_problems=50)
    (says,) = compare.estimate(compare.Knobs(), {"before": (base,), "after": (few,)}).remarks
    assert "100 items" in says
    unknown = Foreseen("exam", "evaluate", {}, {})
    (says,) = compare.estimate(compare.Knobs(), {"before": (base,), "after": (unknown,)}).remarks
    assert "not known yet" in says


def test_exams_that_were_sat_give_their_own_spread(tmp_path: Path):
    before = sat(tmp_path / "before", {id: i % 5 for i, id in enumerate(ids(20))})
    after = sat(tmp_path / "after", {id: (i + 2) % 5 for i, id in enumerate(ids(20))})
    seen = {
        role: (Foreseen(role, "evaluate", {}, {}, artifact=a),) for role, a in (("before", before), ("after", after))
    }
    gaps = [((i + 2) % 5 - i % 5) / 4 for i in range(40)]
    (says,) = compare.estimate(compare.Knobs(), seen).remarks
    assert says.endswith(f"40 items, sd {statistics.stdev(gaps):.2f} measured")
    after.file("report.json").unlink()
    (says,) = compare.estimate(compare.Knobs(), seen).remarks
    assert says.endswith("40 items, sd 0.30 assumed")


def test_check_refuses_what_cannot_be_compared():
    """S-C10: K over the samples, no counterpart, `own` without a domain: sentences before anything runs."""
    base, fused = foreseen_exam("exam_base"), foreseen_exam("exam_fused")
    members = tuple(foreseen_exam(f"exam_specialist/{d}", axes={"domain": d}) for d in DOMAINS)
    assert compare.check(compare.Knobs(), {"before": (base,), "after": (fused,)}) == ()
    assert compare.check(compare.Knobs(own=True), {"before": (base,), "after": members}) == ()
    (says,) = compare.check(compare.Knobs(metric="pass@k", k=9), {"before": (base,), "after": ()})
    assert says == "k = 9 is more than the 8 samples of exam_base"
    (says,) = compare.check(compare.Knobs(own=True, domains=DOMAINS), {"before": (base,), "after": members})
    assert "not both" in says
    (says,) = compare.check(compare.Knobs(domains=DOMAINS[:1] * 2), {"before": (base,), "after": (fused,)})
    assert "twice" in says
    found = compare.check(compare.Knobs(domains=(DOMAINS[0], "algebr")), {"before": (base,), "after": (fused,)})
    assert [says.partition(", but ")[0] for says in found] == [
        f"domains: algebr is not asked by exam_{side}" for side in ("base", "fused")
    ]
    (says,) = compare.check(compare.Knobs(), {"before": members, "after": (fused,)})
    assert "exactly one counterpart" in says
    (says,) = compare.check(compare.Knobs(own=True), {"before": (base,), "after": (fused,)})
    assert "axis `domain`" in says


def test_the_kind_brings_no_gate_of_its_own():
    assert kind("compare").gates(compare.Knobs(), frozenset({"after"})) == {}
