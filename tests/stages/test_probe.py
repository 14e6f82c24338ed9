"""The kind probe, on real checkpoints of a small trajectory."""

import ctypes
import gc
import json
import sys
from pathlib import Path

import psutil
import pytest
import torch

import exam_world as world
from posttrain.data import rows
from posttrain.data.records import Score
from posttrain.evals import ask
from posttrain.graders.base import Grade
from posttrain.graders.registry import Grading
from posttrain.models.load import build, load, save
from posttrain.spec.errors import Interrupted, Mismatch, StageFailed
from posttrain.spec.stage import Artifact, Foreseen
from posttrain.stages import kind, probe
from support import FolderContext, artifact, folder_digest

KNOBS = probe.Knobs(k=(4, 1), samples=4, max_new_tokens=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return artifact(world.trajectory(tmp_path_factory.mktemp("specialist") / "model"), "model")


def data(tmp_path: Path, *domains: str, n: int = 24) -> tuple[Artifact, ...]:
    return tuple(artifact(world.data(tmp_path / d, probe=world.problems(n, d)), "data") for d in domains)


def run(root: Path, knobs: probe.Knobs, model: Artifact, data: tuple[Artifact, ...], **more: int) -> FolderContext:
    ctx = FolderContext(root, knobs, {"model": (model,), "data": data}, **more)
    ctx.metrics = dict(probe.run(ctx).metrics)
    return ctx


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory, model: Artifact) -> FolderContext:
    root = tmp_path_factory.mktemp("probe")
    return run(root, KNOBS, model, data(root, "algebra"))


def test_every_checkpoint_is_scored_on_the_same_problems(probed: FolderContext):
    """S-C4: all metrics of each checkpoint, from rows that name step, problem and sample; a curve for the report."""
    scored = rows.read_all(probed.out / "scores.jsonl", Score)
    assert len(scored) == 3 * 24 * 4
    by_step = {step: [(r.id, r.sample) for r in scored if r.step == step] for step in world.STEPS}
    assert by_step[9] == by_step[20] == by_step[100]
    assert [step["step"] for step in probed.steps] == list(world.STEPS)
    assert {"pass@1", "pass@4", "length", "truncated", "distinct"} <= set(probed.steps[0])
    choice = json.loads((probed.out / "choice.json").read_text())
    assert [each["step"] for each in choice["candidates"]] == list(world.STEPS)
    assert choice["candidates"][0]["problems"]["algebra-0"][0] == 4
    assert {"low", "high", "n"} <= set(choice["held_out"])


def test_the_best_is_chosen_and_handed_on_whole(probed: FolderContext, model: Artifact):
    """S-C5: what it makes is the chosen step's folder, loadable, with rows and choice beside; no other checkpoint."""
    step = probed.metrics["step"].value
    scores = {s: probed.metrics[f"pass@4/step-{s}"].value for s in world.STEPS}
    assert scores[step] == max(scores.values())
    assert probed.metrics["pass@4"] == probed.metrics[f"pass@4/step-{step}"]
    made = sorted(path.name for path in probed.out.iterdir())
    chosen = model.path / "steps" / f"step-{step}"
    assert made == sorted([*(p.name for p in chosen.iterdir()), "scores.jsonl", "choice.json"])
    assert load(probed.out).model.head_weight.equal(load(chosen).model.head_weight)


def test_learning_shows(probed: FolderContext):
    assert probed.metrics["pass@4/step-100"].low > probed.metrics["pass@4/step-9"].high
    assert probed.metrics["pass@1/step-100"].value == pytest.approx(0.25, abs=0.12)


def test_metrics_are_a_function_of_the_artifact(probed: FolderContext):
    assert probe.measure(artifact(probed.out, "model"), KNOBS) == probed.metrics


def test_equal_seeds_give_equal_bytes_and_other_seeds_others(tmp_path: Path, probed: FolderContext, model: Artifact):
    """S-C4: reproducible."""
    again = run(tmp_path / "a", KNOBS, model, data(tmp_path, "algebra"))
    assert folder_digest(again.out) == folder_digest(probed.out)
    other = run(tmp_path / "b", KNOBS, model, data(tmp_path / "d", "algebra"), seed=18)
    assert folder_digest(other.out) != folder_digest(probed.out)


class Killed(FolderContext):
    """A context that stops the stage in the middle of the second checkpoint."""

    def progress(self, done: int, total: int, unit: str) -> None:
        if self.steps:
            raise Interrupted("killed")


def test_a_killed_probe_draws_no_finished_checkpoint_again(
    tmp_path: Path, probed: FolderContext, model: Artifact, monkeypatch: pytest.MonkeyPatch
):
    """S-A7: the same command after a kill gives the same bytes."""
    inputs = {"model": (model,), "data": data(tmp_path, "algebra")}
    with pytest.raises(Interrupted):
        probe.run(Killed(tmp_path / "node", KNOBS, inputs))
    asked: list[int | None] = []

    def counted(*given, step=None, really=ask.ask, **more):
        asked.append(step)
        return really(*given, step=step, **more)

    monkeypatch.setattr(ask, "ask", counted)
    resumed = FolderContext(tmp_path / "node", KNOBS, inputs)
    probe.run(resumed)
    assert asked == [20, 100]
    assert folder_digest(resumed.out) == folder_digest(probed.out)


def test_a_probe_whose_sandbox_was_lost_is_asked_again_by_the_next_attempt(
    tmp_path: Path, probed: FolderContext, model: Artifact, monkeypatch: pytest.MonkeyPatch
):
    """S-D14: a machine's bad hour stops a run, and not the run after it."""
    inputs = {"model": (model,), "data": data(tmp_path, "algebra")}
    lost = Grade(correct=False, outcome="sandbox_error", answer=None, decided=False)
    with monkeypatch.context() as bad, pytest.raises(StageFailed, match="could be graded"):
        bad.setattr(Grading, "grade_all", lambda self, problems, texts: [lost] * len(texts))
        probe.run(FolderContext(tmp_path / "node", KNOBS, inputs))
    again = FolderContext(tmp_path / "node", KNOBS, inputs)
    probe.run(again)
    assert folder_digest(again.out) == folder_digest(probed.out)


def test_two_domains_choose_from_one_trajectory(tmp_path: Path, model: Artifact):
    """S-C6: shared mode: each domain's probe reads the one specialist; both may take the same checkpoint."""
    both = data(tmp_path, "algebra", "geometry")
    made = [
        run(tmp_path / f"probe-{d}", KNOBS.model_copy(update={"domain": d}), model, both)
        for d in ("algebra", "geometry")
    ]
    domains = [{row.domain for row in rows.read(ctx.out / "scores.jsonl", Score)} for ctx in made]
    assert domains == [{"algebra"}, {"geometry"}]
    last = [KNOBS.model_copy(update={"domain": d, "select_by": "last"}) for d in ("algebra", "geometry")]
    same = [run(tmp_path / f"last-{k.domain}", k, model, both).metrics["step"].value for k in last]
    assert same == [100, 100]


def test_a_model_without_steps_is_its_own_only_candidate(tmp_path: Path, model: Artifact):
    """S-C5: it is said so; rows and reports about how the model was made are not handed on."""
    bare = world.trajectory(tmp_path / "bare", steps=(100,))
    for path in sorted((bare / "steps").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (bare / "steps").rmdir()
    ctx = run(tmp_path / "node", KNOBS, artifact(bare, "model"), data(tmp_path, "algebra", n=4))
    assert ctx.notes[0][0] == "candidates"
    assert ctx.metrics["lead"].value is None
    assert ctx.metrics["step"].value == 0
    assert not (ctx.out / "training.json").exists()
    assert not (ctx.out / "val.jsonl").exists()
    assert load(ctx.out).model.head_weight.equal(load(bare).model.head_weight)


def test_an_empty_probe_set_is_a_mismatch_naming_the_domain(tmp_path: Path, model: Artifact):
    """S-A9: a domain without probe problems is exit 6."""
    knobs = KNOBS.model_copy(update={"domain": "geometry"})
    with pytest.raises(Mismatch, match="no probe problem of the domain geometry") as caught:
        run(tmp_path / "node", knobs, model, data(tmp_path, "algebra"))
    assert caught.value.code == 6


def test_k_over_the_samples_is_refused_before_anything_runs():
    """S-C4: k > n is an error (check, exit 2)."""
    (says,) = probe.check(probe.Knobs(k=(8, 32), samples=16), {})
    assert says == "k = 32 is more than samples = 16: Pass@K needs K of them, so raise samples or lower k"
    assert probe.check(probe.Knobs(), {}) == ()


def test_gates_judge_the_first_k_and_the_cut(tmp_path: Path, model: Artifact):
    """S-C4: signal is the chosen pass@k, uncut the share cut: a cap of one token fails both, never silently."""
    gates = kind("probe").gates(KNOBS, frozenset({"model", "data"}))
    assert {name: gate.metric for name, gate in gates.items()} == {"signal": "pass@4", "uncut": "truncated"}
    cut = run(tmp_path / "node", KNOBS.model_copy(update={"max_new_tokens": 1}), model, data(tmp_path, "algebra", n=4))
    assert cut.metrics["truncated"].value > 0.2
    assert cut.metrics["pass@4"].high == 0


def test_the_plan_says_how_many_answers():
    given = {"data": (Foreseen("prepare", "prepare", {"probe_size": 250, "domain": "algebra"}, {}),)}
    assert probe.estimate(probe.Knobs(max_new_tokens=80), given).remarks == (
        "4000 answers of at most 80 tokens per checkpoint",
    )


def test_memory_is_freed_between_checkpoints(tmp_path: Path):
    """S-C7: after the third checkpoint the process holds no more than after the first, and no model is left."""
    wide = {**world.CONFIG, "hidden_size": 256, "intermediate_size": 2048, "num_hidden_layers": 4}
    loaded = build(wide, load(world.trajectory(tmp_path / "small", steps=())).tokenizer, {}, 0)
    size = 4 * sum(parameter.numel() for parameter in loaded.model.parameters())
    for step in (1, 2, 3):
        save(loaded, tmp_path / "wide" / "steps" / f"step-{step}")
    del loaded
    held: list[int] = []

    class Watched(FolderContext):
        def emit(self, **metrics: object) -> None:
            if sys.platform == "linux":  # what the allocator keeps of freed memory is not held by the stage
                ctypes.CDLL(None).malloc_trim(0)
            held.append(psutil.Process().memory_info().rss)

    given = {"model": (artifact(tmp_path / "wide", "model"),), "data": data(tmp_path, "algebra", n=2)}
    probe.run(Watched(tmp_path / "node", KNOBS, given))
    assert size > 25e6
    assert held[2] - held[0] < size / 2
    assert not [o for o in gc.get_objects() if type(o) is torch.nn.Embedding and o.weight.shape[1] == 256]
