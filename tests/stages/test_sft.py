"""The kind sft on a real little model: knobs reach the trainer, every checkpoint loads, gates see planted defects."""

import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from posttrain import stages
from posttrain.curate import worlds
from posttrain.data import rows
from posttrain.data.chat import DEFAULT_PROMPTING
from posttrain.data.records import Problem
from posttrain.models import load
from posttrain.models.presets import Vocabulary
from posttrain.models.tokens import train_tokenizer
from posttrain.spec.errors import Mismatch, StageFailed, UsageError
from posttrain.spec.stage import Artifact, Foreseen
from posttrain.stages import sft
from support import FolderContext, artifact

CONFIG = {
    "model_type": "qwen3", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128, "tie_word_embeddings": True,
}  # fmt: skip
FAST = {"steps": 3, "batch": 8, "lr": 3e-3, "max_seq_length": 128, "save_every": 2, "micro_batch_tokens": 512}


@pytest.fixture(scope="session")
def given(tmp_path_factory) -> dict[str, Artifact]:
    """A model and the data of two domains, as artifacts."""
    root = tmp_path_factory.mktemp("given")
    made: dict[str, Artifact] = {}
    for domain in ("algebra", "geometry"):
        folder = root / domain
        folder.mkdir()
        for side, count in (("train", 20), ("val", 4)):
            rows.write(folder / f"{side}.jsonl", worlds.draw(domain, side, count, 5))
        made[domain] = artifact(folder, "data", axes={"domain": domain})
    texts = [f"{p.prompt}\n{s.text}" for d in made.values() for p in read(d) for s in p.solutions]
    tokenizer = train_tokenizer(texts, Vocabulary(size=640, min_count=2))
    load.save(load.build(CONFIG, tokenizer, DEFAULT_PROMPTING.model_dump(), 3), root / "model")
    return made | {"model": artifact(root / "model", "model")}


def read(data: Artifact) -> list[Problem]:
    return rows.read_all(data.file("train.jsonl"), Problem)


def context(root: Path, given: dict[str, Artifact], **knobs) -> FolderContext:
    inputs = {"model": (given["model"],), "data": (given["algebra"],), "replay": (given["algebra"], given["geometry"])}
    return FolderContext(root, sft.Knobs(**{**FAST, **knobs}), inputs)


def passes(metrics, name: str) -> bool:
    """Whether a default gate's condition holds."""
    gate = sft.GATES[name]
    value = Decimal(str(metrics[gate.metric].value))
    return value == gate.equals if gate.equals is not None else value >= (gate.at_least or Decimal(0))


def test_a_finetune_leaves_every_checkpoint_and_passes_its_gates(tmp_path, given):
    """S-C1: prompt masked, EOS trained, every checkpoint of the grid and the last loads, and the last is the model."""
    ctx = context(tmp_path, given, steps=5, lr=1e-2)
    metrics = sft.run(ctx).metrics
    assert sorted(p.name for p in (ctx.out / "steps").iterdir()) == ["step-2", "step-4", "step-5"]
    for folder in (ctx.out, *(ctx.out / "steps").iterdir()):
        assert load.load(folder).prompting == DEFAULT_PROMPTING.model_dump()
    last, root = ctx.out / "steps" / "step-5" / "model.safetensors", ctx.out / "model.safetensors"
    assert last.read_bytes() == root.read_bytes()
    assert all(passes(metrics, name) for name in sft.GATES), metrics
    assert metrics["rows_kept"].n == 40
    assert metrics["val_loss"].value == ctx.steps[-1]["val_loss"]
    assert metrics == sft.measure(artifact(ctx.out, "model"), ctx.knobs)


def test_one_decoded_batch_is_shown_at_the_start(tmp_path, given):
    ctx = context(tmp_path, given)
    sft.run(ctx)
    (shown,) = [text for kind, text, _ in ctx.notes if kind == "first_batch"]
    assert "«" in shown and "boxed" in shown


def test_knobs_reach_the_trainer(tmp_path, given):
    """S-C2: rate, batch, accumulation, epochs and replay decide what is trained; packing does not change the loss."""

    def told(name: str, **knobs):
        ctx = context(tmp_path / name, given, **knobs)
        sft.run(ctx)
        return ctx.steps

    plain = told("plain")
    padded = told("padded", packing=False)
    losses = [[s["loss"] for s in steps[1:]] for steps in (plain, padded)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    whole = told("whole", batch=8)
    cut = told("cut", batch=2, accumulate=4)
    assert [s.get("loss") for s in whole] == [s.get("loss") for s in cut]
    assert len(told("epochs", steps=None, epochs=2)) == 1 + 2 * 5
    assert told("replay", replay=0.5, steps=None, epochs=1)[-1]["epoch"] == 1.0
    assert max(s.get("lr", 0) for s in told("rate", lr=7e-3, warmup=0.0)) == 7e-3


def test_replay_adds_rows_of_other_data(tmp_path, given):
    ctx = context(tmp_path, given, replay=0.25)
    sft.run(ctx)
    report = json.loads((ctx.out / sft.REPORT).read_text())
    assert report["rows"] == {"own": 40, "replayed": 10, "kept": 50}
    assert sft.check(ctx.knobs, {}) != ()


def test_a_domain_takes_its_rows_and_none_takes_all(tmp_path, given):
    """S-A9 S-C1: one domain's rows, or all of them mixed; a domain without rows is refused before training, exit 6."""
    both = {"model": (given["model"],), "data": (given["algebra"], given["geometry"])}
    for name, domain, count in (("one", "geometry", 40), ("all", None, 80)):
        ctx = FolderContext(tmp_path / name, sft.Knobs(**FAST, domain=domain), both)
        assert sft.run(ctx).metrics["rows_kept"].n == count
    with pytest.raises(Mismatch, match="no training row of domain calculus") as caught:
        sft.run(FolderContext(tmp_path / "none", sft.Knobs(**FAST, domain="calculus"), both))
    assert caught.value.code == 6


def test_a_short_window_drops_rows_and_fails_its_gate(tmp_path, given):
    """S-B10: planted defect of gate rows_kept: a window too small for most rows; the others pass."""
    metrics = sft.run(context(tmp_path, given, max_seq_length=40, lr=1e-2)).metrics
    assert [name for name in sft.GATES if not passes(metrics, name)] == ["rows_kept"]


def test_no_rate_fails_loss_falls_alone(tmp_path, given):
    """Planted defect of gate loss_falls: lr = 0."""
    metrics = sft.run(context(tmp_path, given, lr=0.0)).metrics
    assert [name for name in sft.GATES if not passes(metrics, name)] == ["loss_falls"]


def test_bad_input_is_refused_with_its_own_code(tmp_path, given):
    """S-A8 S-B10: no row left is 6, a window beyond the model's positions 2."""
    with pytest.raises(Mismatch, match="Lengths in tokens: ≤"):
        sft.run(context(tmp_path / "a", given, max_seq_length=8))
    with pytest.raises(UsageError, match="256 tokens are more than the model's 128 positions"):
        sft.run(context(tmp_path / "b", given, max_seq_length=256))


def test_a_rate_that_explodes_is_exit_seven(tmp_path, given):
    """S-A8: NaN or Inf stops the stage with the step's number."""
    with pytest.raises(StageFailed, match=r"step [23]:"):
        sft.run(context(tmp_path, given, lr=1e36, warmup=0.0, clip=1e30))


def test_equal_seeds_equal_bytes_after_a_kill(tmp_path, given):
    """S-A7: killed in the middle and run again, every file of the artifact is byte for byte the same."""

    class Killed(Exception):
        pass

    whole = context(tmp_path / "whole", given)
    sft.run(whole)
    cut = context(tmp_path / "cut", given)
    emit = cut.emit

    def until(**numbers):
        emit(**numbers)
        if numbers["step"] == 2:
            raise Killed

    cut.emit = until
    with pytest.raises(Killed):
        sft.run(cut)
    cut.emit = emit
    sft.run(cut)
    assert artifact(whole.out, "model").digest == artifact(cut.out, "model").digest


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_checkpoint_that_changed_before_the_end_is_not_used(tmp_path, given, damage):
    """S-A8: between two attempts a byte of a kept checkpoint flips, or its folder goes: named, never committed."""
    ctx = context(tmp_path, given)
    sft.run(ctx)
    kept = ctx.scratch / "steps" / "step-2"
    if damage == "changed":
        whole = bytearray((kept / "model.safetensors").read_bytes())
        whole[-9] ^= 1
        (kept / "model.safetensors").write_bytes(bytes(whole))
    else:
        shutil.rmtree(kept)
    with pytest.raises(Mismatch, match="changed since it was written") as refused:
        sft.run(context(tmp_path, given))
    assert refused.value.where == str(kept)


def test_the_plan_warns_of_many_epochs(given):
    data = {"data": (Foreseen("prepare", "prepare", {"max_problems": 40, "n_solutions": 2}, {}),)}
    few = sft.estimate(sft.Knobs(steps=10, batch=8, max_seq_length=64), data)
    assert (few.remarks, few.tokens, few.memory) == ((), 10 * 8 * 64, None)
    tiny = {"model": (Foreseen("base", "base", {"id": "tiny:base"}, {}),)}
    assert sft.estimate(sft.Knobs(), tiny).memory > 2**24
    (remark,) = sft.estimate(sft.Knobs(steps=200, batch=8), data).remarks
    assert remark.startswith("20.0 epochs")


def test_the_kind_is_read_without_running_it():
    kind = stages.kind("sft")
    assert kind.makes == "model"
    assert set(kind.roles) == {"model", "data", "replay"}
    assert set(kind.gates(kind.knobs(), frozenset())) == {"sound", "masks", "rows_kept", "loss_falls"}
