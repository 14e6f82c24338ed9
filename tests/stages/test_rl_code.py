"""Reinforcement learning and exams of code on a real small model, its programs run in the sandbox."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import code_world as world
import support
from posttrain.data import rows
from posttrain.data.records import Problem, RlStep, Rollout, Score
from posttrain.spec.errors import Interrupted, Mismatch, MissingNeed
from posttrain.spec.knobs import Resources
from posttrain.stages import evaluate, rl

SMALL: dict[str, Any] = {
    "steps": 3,
    "prompts": 4,
    "group": 6,
    "max_seq_length": 40,
    "max_prompt_length": 24,
    "lr": 1e-3,
    "eval_every": 2,
    "eval_samples": 2,
    "zero_variance": "keep",
    "keep_rollouts": 1.0,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> support.Artifact:
    return support.artifact(world.folder(tmp_path_factory.mktemp("code") / "model"), "model")


def data(root: Path, train: list[Problem] | None = None, **splits: list[Problem]) -> tuple[support.Artifact, ...]:
    root.mkdir(parents=True)
    rows.write(root / "train.jsonl", world.problems(12) if train is None else train)
    rows.write(root / "val.jsonl", splits.get("val", world.problems(4, start=50)))
    rows.write(root / "test.jsonl", splits.get("test", world.problems(6, start=80)))
    return (support.artifact(root, "data", axes={"domain": "code"}),)


def context(root: Path, model: support.Artifact, given: tuple[support.Artifact, ...], **knobs: Any):
    return support.FolderContext(root, rl.Knobs(**(SMALL | knobs)), {"model": (model,), "data": given})


@pytest.fixture(scope="module")
def learnt(tmp_path_factory, model) -> support.FolderContext:
    root = tmp_path_factory.mktemp("learnt")
    ctx = context(root / "node", model, data(root / "data"))
    ctx.metrics = dict(rl.run(ctx).metrics)
    return ctx


def test_programs_are_run_and_every_step_says_how_they_ended(learnt):
    """S-D11, S-D13: outcome counts of each step, undecided among its metrics; right ones are rewarded 1."""
    steps = rows.read_all(learnt.out / "rl.jsonl", RlStep)
    assert len(steps) == 3
    kept = rows.read_all(learnt.out / "rollouts.jsonl.gz", Rollout)
    for step, told in zip(steps, (t for t in learnt.steps if t["step"] > 0), strict=True):
        own = [row for row in kept if row.step == step.step]
        assert step.outcomes == dict(sorted(Counter(row.outcome for row in own).items())) == told["outcomes"]
        assert (told["undecided"], step.undecided, step.prompts) == (0, 0, {"code": 4})
    outcomes = {row.outcome for row in kept}
    assert {"right", "wrong", "runtime_error"} <= outcomes
    assert all(row.reward == float(row.outcome == "right") for row in kept)
    assert {row.text for row in kept if row.outcome == "right"} <= {"print(0)", "print(1)"}
    assert learnt.found["sandbox"] in ("L2", "L3")
    assert (learnt.metrics["undecided"].value, learnt.metrics["undecided"].n) == (0, 3 * 4 * 6)
    assert learnt.metrics["signs"].value == 0


def test_a_killed_stage_of_code_goes_on_to_the_same_bytes(tmp_path, model, learnt):
    """S-A7: programs are run again after the kill, and say the same."""

    class Killed(support.FolderContext):
        def emit(self, **metrics: Any) -> None:
            super().emit(**metrics)
            if metrics["step"] == 2:
                raise Interrupted("killed")

    given = data(tmp_path / "data")
    inputs = {"model": (model,), "data": given}
    with pytest.raises(Interrupted):
        rl.run(Killed(tmp_path / "node", rl.Knobs(**SMALL), inputs))
    shutil.rmtree(tmp_path / "node" / "out")
    resumed = context(tmp_path / "node", model, given)
    rl.run(resumed)
    assert [told["step"] for told in resumed.steps] != [told["step"] for told in learnt.steps]
    assert support.folder_digest(resumed.out) == support.folder_digest(learnt.out)


def test_code_without_tests_is_dropped_and_counted(tmp_path, model):
    """§2.7: a row without tests, or with none that can be read, says nothing: it is left out, and no bad gold."""
    train = world.problems(12)
    for at, answer in ((0, '{"stdin": []}'), (1, "no JSON"), (2, '{"entry": "f", "tests": ""}')):
        train[at] = train[at].model_copy(update={"answer": answer})
    ctx = context(tmp_path / "node", model, data(tmp_path / "data", train), steps=1)
    rl.run(ctx)
    assert ("dropped", "train: code problems without tests", 3) in ctx.notes
    assert not any("golds" in text for _, text, _ in ctx.notes)


def test_golds_that_fail_their_tests_refuse_the_data(tmp_path, model):
    """§2.7: a reference that fails its own tests is a bad gold; over 5 % is exit 6."""
    train = world.problems(30)
    wrong = train[0].answer.replace("print(0)", "print(9)")
    train[0] = train[0].model_copy(update={"answer": wrong})
    ctx = context(tmp_path / "one", model, data(tmp_path / "a", train), steps=1)
    rl.run(ctx)
    assert ("dropped", "train: golds that fail their own grader", 1) in ctx.notes
    for at in (2, 4):
        train[at] = train[at].model_copy(update={"answer": wrong})
    with pytest.raises(Mismatch, match="3 of 30 golds") as refused:
        rl.run(context(tmp_path / "three", model, data(tmp_path / "b", train), steps=1))
    assert refused.value.code == 6


def test_where_programs_cannot_run_nothing_is_trained(tmp_path, model):
    """§2.7: the sandbox is asked for before the first step, though no gold needs it; exit 4."""
    train = [p.model_copy(update={"answer": p.answer.replace("reference", "note")}) for p in world.problems(12)]
    ctx = context(tmp_path / "node", model, data(tmp_path / "data", train, val=[]))
    ctx.resources = Resources(device="cpu", compute="fp32", sandbox="none")
    with pytest.raises(MissingNeed, match="lets no program run") as refused:
        rl.run(ctx)
    assert refused.value.code == 4
    assert ctx.steps == [] and not list(ctx.scratch.rglob("*.jsonl*"))


def test_an_exam_runs_programs_and_is_resumed_to_the_same_bytes(tmp_path, model):
    """S-A7, S-D13: pass@1 of code by running it; golds are fair where their references pass."""
    knobs = evaluate.Knobs(samples=4, max_new_tokens=16)
    inputs = {"model": (model,), "data": data(tmp_path / "data")}
    first, second = (support.FolderContext(tmp_path / name, knobs, inputs) for name in "ab")
    found = evaluate.run(first).metrics
    assert found["unfair"].value == 0 and found["undecided"].value == 0
    scored = rows.read_all(first.out / "scores.jsonl", Score)
    assert found["pass@1"].value == pytest.approx(sum(row.correct for row in scored) / len(scored))
    assert all(row.answer == row.text for row in scored if row.outcome == "right")
    assert 0 < found["pass@1"].value < 0.8
    assert json.loads((first.out / "report.json").read_text())["programs"] == "run"
    evaluate.run(second)
    assert support.folder_digest(first.out) == support.folder_digest(second.out)
