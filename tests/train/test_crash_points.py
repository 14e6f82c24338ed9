"""Killed before every single file operation of a short run, and run again: the same bytes, metrics and remarks."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import exam_world
import rl_world
from crash_points import Crash, crashes, restore, surviving
from posttrain.curate import worlds
from posttrain.data import rows
from posttrain.models import load, presets
from posttrain.models.presets import Pretrain
from posttrain.stages import base, evaluate, probe, rl, sft
from posttrain.train import state
from support import FolderContext, artifact, folder_digest
from train import little

Told = tuple[str, object, object, dict[object, object]]
Work = Callable[[Path], FolderContext]


@pytest.fixture(autouse=True)
def every_step_is_kept(monkeypatch: pytest.MonkeyPatch):
    """A state after every step, so that every step is resumed from."""
    monkeypatch.setattr(state, "Keeper", partial(state.Keeper, every=1))


def told(work: Work, folder: Path, made: list[Told]) -> None:
    """Work as the engine does: `out` begins empty, `scratch` is as it was left."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    ctx = work(folder)
    steps = {step.get("step"): step for step in ctx.steps}
    made.append((folder_digest(ctx.out), ctx.metrics, ctx.notes, steps))


def wrong(tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Crash], list[str]]:
    """Every crash there is, and the names of those after which something differs."""
    folder, made = tmp_path / "node", list[Told]()
    folder.mkdir()
    found = surviving(crashes(folder, lambda: told(work, folder, made), monkeypatch), without="out")
    names: list[str] = []
    for crash in found:
        restore(crash, folder)
        told(work, folder, made)
        digest, metrics, notes, steps = made.pop()
        equal = (digest, metrics, notes) == made[0][:3]
        if not equal or any(made[0][3][step] != numbers for step, numbers in steps.items()):
            names.append(crash.name)
    return found, names


def test_sft_after_every_crash(tmp_path, monkeypatch):
    """S-A7: weights, optimiser, schedule, cursor and checkpoints of a fine-tune, crashed at every file operation."""
    for side, count in (("train", 12), ("val", 3)):
        (tmp_path / "data").mkdir(exist_ok=True)
        rows.write(tmp_path / "data" / f"{side}.jsonl", worlds.draw("algebra", side, count, 5))
    load.save(little.model(), tmp_path / "model")
    inputs = {"model": (artifact(tmp_path / "model", "model"),), "data": (artifact(tmp_path / "data", "data"),)}
    given = {"steps": 3, "batch": 4, "lr": 3e-3, "max_seq_length": 128, "save_every": 2, "micro_batch_tokens": 256}

    def work(folder: Path) -> FolderContext:
        ctx = FolderContext(folder, sft.Knobs(**given), inputs)
        ctx.metrics = sft.run(ctx).metrics
        return ctx

    found, names = wrong(tmp_path, work, monkeypatch)
    assert len(found) > 60
    assert not names


def test_rl_after_every_crash(tmp_path, monkeypatch):
    """S-A7: rollouts, validations, their journals, the cursor and the best weights, crashed at every file operation."""
    rl_world.folder(tmp_path / "model")
    rl_world.write(tmp_path / "data", train=rl_world.problems(8), val=rl_world.problems(3, start=50))
    inputs = {"model": (artifact(tmp_path / "model", "model"),), "data": (artifact(tmp_path / "data", "data"),)}
    given: dict[str, Any] = {
        "steps": 3, "prompts": 3, "group": 2, "max_seq_length": 54, "max_prompt_length": 50, "lr": 1e-2,
        "eval_every": 2, "eval_samples": 2, "zero_variance": "keep", "keep_rollouts": 1.0, "select": "best_val",
        "updates_per_rollout": 2,
    }  # fmt: skip

    def work(folder: Path) -> FolderContext:
        ctx = FolderContext(folder, rl.Knobs(**given), inputs)
        ctx.metrics = rl.run(ctx).metrics
        return ctx

    found, names = wrong(tmp_path, work, monkeypatch)
    assert len(found) > 60
    assert not names


def test_pretraining_after_every_crash(tmp_path, monkeypatch):
    """S-A7: the base of a preset with both optimisers, crashed at every file operation."""
    plan = Pretrain(tokens=1_500, batch_tokens=600, lr=3e-3, muon_lr=0.02, decay=0.1)
    made = presets.preset("init:0.1m").model_copy(update={"name": "tiny:little", "pretrain": plan})
    shipped = presets.presets()
    monkeypatch.setattr(presets, "presets", lambda: shipped | {"tiny:little": made})
    monkeypatch.setattr(base, "SAMPLE", 200)
    monkeypatch.setattr(base, "VAL_PROBLEMS", 2)

    def work(folder: Path) -> FolderContext:
        ctx = FolderContext(folder, base.Knobs(id="tiny:little"))
        ctx.metrics = base.run(ctx).metrics
        return ctx

    found, names = wrong(tmp_path, work, monkeypatch)
    assert len(found) > 15
    assert not names


@pytest.mark.parametrize("kind", ["probe", "evaluate"])
def test_asking_after_every_crash(kind, tmp_path, monkeypatch):
    """S-A7: rows of checkpoints and of domains, half written or whole, crashed at every file operation."""
    model = artifact(exam_world.trajectory(tmp_path / "model", exam_world.STEPS[:2]), "model")
    problems = {split: exam_world.problems(2) for split in ("probe", "test")}
    data = tuple(artifact(exam_world.data(tmp_path / d, **problems), "data") for d in ("algebra", "geometry"))
    inputs = {"model": (model,), "data": data if kind == "evaluate" else data[:1]}

    def work(folder: Path) -> FolderContext:
        if kind == "probe":
            ctx = FolderContext(folder, probe.Knobs(k=(2,), samples=2, max_new_tokens=6), inputs)
            ctx.metrics = probe.run(ctx).metrics
        else:
            ctx = FolderContext(folder, evaluate.Knobs(samples=2, max_new_tokens=6), inputs)
            ctx.metrics = evaluate.run(ctx).metrics
        return ctx

    found, names = wrong(tmp_path, work, monkeypatch)
    assert len(found) > 5
    assert not names
