"""The kind evaluate, on a real small model that guesses a digit and is right once in four."""

import json
from pathlib import Path

import pytest

import exam_world as world
from posttrain.data import rows
from posttrain.data.records import Score
from posttrain.spec.errors import Interrupted, Mismatch, UsageError
from posttrain.spec.stage import Artifact, Foreseen
from posttrain.stages import evaluate, kind
from support import FolderContext, artifact, folder_digest

KNOBS = evaluate.Knobs(samples=4, max_new_tokens=8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return artifact(world.trajectory(tmp_path_factory.mktemp("exam") / "model"), "model")


def data(root: Path, *, n: int = 40, split: str = "test") -> tuple[Artifact, ...]:
    return tuple(
        artifact(world.data(root / d, **{split: world.problems(n, d)}), "data") for d in ("algebra", "geometry")
    )


def run(root: Path, knobs: evaluate.Knobs, model: Artifact, data: tuple[Artifact, ...]) -> FolderContext:
    ctx = FolderContext(root, knobs, {"model": (model,), "data": data})
    outcome = evaluate.run(ctx)
    ctx.metrics, ctx.measured = dict(outcome.metrics), dict(outcome.measured)
    return ctx


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory, models: Artifact) -> FolderContext:
    root = tmp_path_factory.mktemp("exam")
    return run(root / "node", KNOBS, models, data(root))


def test_one_row_per_sample_and_pass_at_1_is_their_mean(exam: FolderContext):
    """The rows are the evidence: pass@1 is the share right, pooled and by domain."""
    scored = rows.read_all(exam.out / "scores.jsonl", Score)
    assert len(scored) == 2 * 40 * 4
    assert exam.metrics["pass@1"].value == pytest.approx(sum(row.correct for row in scored) / len(scored))
    assert exam.metrics["pass@1"].n == 80
    assert exam.metrics["pass@1"].low < exam.metrics["pass@1"].value < exam.metrics["pass@1"].high
    assert exam.metrics["pass@1"].value == pytest.approx(0.25, abs=0.1)
    by_domain = [exam.metrics[f"pass@1/{d}"].value for d in ("algebra", "geometry")]
    assert sum(by_domain) / 2 == pytest.approx(exam.metrics["pass@1"].value)
    assert {"pass@1", "pass@2", "pass@4", "cons@4", "truncated", "length", "distinct", "unfair"} <= set(exam.metrics)
    assert exam.metrics["pass@1"].value < exam.metrics["pass@2"].value < exam.metrics["pass@4"].value


def test_metrics_are_a_function_of_the_artifact_and_times_are_not_in_it(exam: FolderContext):
    assert evaluate.measure(artifact(exam.out, "scores"), KNOBS) == exam.metrics
    assert exam.measured["tokens"] == sum(row.tokens for row in rows.read(exam.out / "scores.jsonl", Score))
    report = json.loads((exam.out / "report.json").read_text())
    assert sorted(report) == ["fairness", "items", "outcomes", "signatures", "standard_errors", "suites"]
    assert report["suites"] == {"problems": 80}
    assert report["items"][0] == ["problems", "algebra-0", "algebra", 4, report["items"][0][4]]


def test_exams_of_one_stream_are_paired(tmp_path: Path, exam: FolderContext, models: Artifact):
    """S-C10: equal seed and model: equal bytes; a problem's draws do not depend on what else is asked."""
    again = run(tmp_path / "again", KNOBS, models, data(tmp_path))
    assert folder_digest(again.out) == folder_digest(exam.out)
    fewer = run(tmp_path / "few", KNOBS.model_copy(update={"max_problems": 5}), models, data(tmp_path / "d"))
    few = {(r.id, r.sample): r.text for r in rows.read(fewer.out / "scores.jsonl", Score)}
    all_of_them = {(r.id, r.sample): r.text for r in rows.read(exam.out / "scores.jsonl", Score)}
    assert len(few) == 2 * 5 * 4
    assert few.items() <= all_of_them.items()


def test_a_killed_exam_goes_on_where_it_was(tmp_path: Path, exam: FolderContext, models: Artifact):
    """S-A7: finished domains are read back, and the bytes are those of an unbroken run."""

    class Killed(FolderContext):
        def progress(self, done: int, total: int, unit: str) -> None:
            if done > total / 2:
                raise Interrupted("killed")

    inputs = {"model": (models,), "data": data(tmp_path)}
    with pytest.raises(Interrupted):
        evaluate.run(Killed(tmp_path / "node", KNOBS, inputs))
    resumed = FolderContext(tmp_path / "node", KNOBS, inputs)
    measured = evaluate.run(resumed).measured
    assert "sampling_s" not in measured, "nobody has timed all of it"
    assert folder_digest(resumed.out) == folder_digest(exam.out)


def test_greedy_is_one_answer(tmp_path: Path, models: Artifact):
    knobs = KNOBS.model_copy(update={"samples": 1, "temperature": 0.0})
    ctx = run(tmp_path / "node", knobs, models, data(tmp_path, n=5))
    assert {row.text for row in rows.read(ctx.out / "scores.jsonl", Score)}
    assert ctx.metrics["pass@1"] == ctx.metrics["cons@1"]


def test_another_split_and_an_empty_one(tmp_path: Path, models: Artifact):
    """S-A9: an empty split is exit 6, naming it."""
    on_val = evaluate.Knobs(samples=1, max_new_tokens=8, suites=(evaluate.Problems(split="val"),))
    assert run(tmp_path / "a", on_val, models, data(tmp_path, n=3, split="val")).metrics["pass@1"].n == 6
    with pytest.raises(Mismatch, match="split test of the data is empty"):
        run(tmp_path / "b", KNOBS, models, data(tmp_path / "d", n=3, split="val"))


def test_a_temperature_for_each_type_of_answer(tmp_path: Path, models: Artifact):
    two = evaluate.Knobs(samples=2, max_new_tokens=8, temperature={"maths": 1.0, "code": 0.6})
    assert run(tmp_path / "a", two, models, data(tmp_path, n=2)).metrics["pass@1"].n == 4
    with pytest.raises(UsageError, match="answers of type maths"):
        run(tmp_path / "b", two.model_copy(update={"temperature": {"code": 0.6}}), models, data(tmp_path / "d", n=2))


def test_a_gold_that_fails_itself_fails_gate_fair(tmp_path: Path, models: Artifact):
    """S-D9: gate fair counts golds that their own grader refuses."""
    (gate,) = kind("evaluate").gates(KNOBS, frozenset({"model", "data"})).values()
    assert (gate.metric, gate.equals) == ("unfair", 0)
    good = world.problems(4)
    bad = [*good[:3], good[3].model_copy(update={"answer": "}"})]
    asked = (artifact(world.data(tmp_path / "d", test=bad), "data"),)
    ctx = run(tmp_path / "node", KNOBS, models, asked)
    assert ctx.metrics["unfair"].value == 1
    assert json.loads((ctx.out / "report.json").read_text())["fairness"]["bad_golds"] == ["algebra-3"]


def test_check_refuses_what_cannot_be_sat():
    """S-C4: k > n, nobody to sit, nothing to ask: sentences before anything runs (exit 2)."""
    someone = {role: (Foreseen(role, "base", {}, {}),) for role in ("model", "data")}
    assert evaluate.check(evaluate.Knobs(), someone) == ()
    assert len(evaluate.check(evaluate.Knobs(), {})) == 2
    (says,) = evaluate.check(evaluate.Knobs(k=(16,), samples=8), someone)
    assert says == "k = 16 is more than samples = 8: Pass@K needs K of them, so raise samples or lower k"
    (says,) = evaluate.check(evaluate.Knobs(temperature=0.0), someone)
    assert says.startswith("temperature = 0 is greedy")
    (says,) = evaluate.check(evaluate.Knobs(suites=(evaluate.Problems(), evaluate.Problems(split="val"))), someone)
    assert says.startswith("suites")


def test_every_k_up_to_the_samples_unless_said():
    assert evaluate.Knobs(samples=8).ks() == (1, 2, 4, 8)
    assert evaluate.Knobs(samples=6).ks() == (1, 2, 4)
    assert evaluate.Knobs(samples=6, k=(3, 1)).ks() == (1, 3)
    assert evaluate.Knobs.model_validate({"suites": ["problems"], "k": 4}).ks() == (4,)


def test_the_plan_says_how_many_answers():
    prepared = tuple(Foreseen(f"prepare/{d}", "prepare", {"test_size": 500}, {"domain": d}) for d in "abcd")
    (says,) = evaluate.estimate(evaluate.Knobs(max_new_tokens=80), {"data": prepared}).remarks
    assert says == "16000 answers of at most 80 tokens"
    assert evaluate.estimate(evaluate.Knobs(), {}).remarks == ()
