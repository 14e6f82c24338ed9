"""The kind base: presets made on the spot, a user's folder taken over, and what each refuses."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from posttrain import stages
from posttrain.curate import worlds
from posttrain.data import rows
from posttrain.models import load, presets
from posttrain.models.presets import Pretrain
from posttrain.spec.errors import Mismatch, UsageError
from posttrain.stages import base
from support import FolderContext, artifact

LITTLE = Pretrain(tokens=6_000, batch_tokens=600, lr=3e-3, muon_lr=0.02, decay=0.1)


@pytest.fixture
def little(monkeypatch):
    """A preset that is pre-trained, in a second."""
    made = presets.preset("init:0.1m").model_copy(update={"name": "tiny:little", "pretrain": LITTLE})
    shipped = presets.presets()
    monkeypatch.setattr(presets, "presets", lambda: shipped | {"tiny:little": made})
    return "tiny:little"


def run(root: Path, seed: int = 17, inputs=None, **knobs):
    ctx = FolderContext(root, base.Knobs(**knobs), inputs, seed=seed)
    return ctx, base.run(ctx).metrics


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A random model's folder."""
    ctx, _ = run(tmp_path_factory.mktemp("made"), id="init:0.1m")
    return ctx.out


def test_a_random_preset_is_sound_and_seeded(tmp_path):
    """S-C3: parameters in the metrics; equal seeds give equal bytes, another seed another model."""
    (one, metrics), (again, _) = (run(tmp_path / name, id="init:0.1m") for name in ("one", "again"))
    other, _ = run(tmp_path / "other", seed=18, id="init:0.1m")
    assert metrics["damages"].value == 0
    assert metrics["parameters"].value == sum(p.numel() for p in load.load(one.out).model.parameters())
    assert metrics["loss"].value is None and metrics["loss"].reason
    digests = [artifact(ctx.out, "model").digest for ctx in (one, again, other)]
    assert digests[0] == digests[1] != digests[2]


def test_pretraining_learns_and_resumes_to_the_byte(tmp_path, little):
    """S-A7: killed in the middle of pre-training, the same folder byte for byte; the loss curve is told."""

    class Killed(Exception):
        pass

    whole, metrics = run(tmp_path / "whole", id=little)
    losses = [step["loss"] for step in whole.steps]
    assert len(losses) in (9, 10)
    assert losses[-1] < losses[0] - 0.5
    assert metrics["tokens"].value >= 6_000
    assert metrics["val_loss"].value < losses[0]
    cut = FolderContext(tmp_path / "cut", base.Knobs(id=little))
    emit = cut.emit

    def until(**numbers):
        if numbers["step"] == 4:
            raise Killed
        emit(**numbers)

    cut.emit = until
    with pytest.raises(Killed):
        base.run(cut)
    cut.emit = emit
    base.run(cut)
    assert artifact(cut.out, "model").digest == artifact(whole.out, "model").digest


def test_its_own_data_replaces_the_world(tmp_path, little):
    """Role data: the preset is pre-trained on those rows; too few of them come again."""
    data = tmp_path / "data"
    data.mkdir()
    rows.write(data / "train.jsonl", worlds.draw("algebra", "train", 30, 5))
    rows.write(data / "val.jsonl", worlds.draw("algebra", "val", 4, 5))
    _, metrics = run(tmp_path / "out", id=little, inputs={"data": (artifact(data, "data"),)})
    assert metrics["tokens"].value >= 6_000
    assert metrics["damages"].value == 0
    bare = [problem.model_copy(update={"solutions": ()}) for problem in worlds.draw("algebra", "train", 3, 5)]
    rows.write(data / "train.jsonl", bare)
    with pytest.raises(Mismatch, match="no row has a verified solution"):
        run(tmp_path / "bare", id=little, inputs={"data": (artifact(data, "data"),)})


def test_a_folder_is_taken_over_unchanged(tmp_path, made):
    """S-C3: a model by path: same weights, same answers."""
    ctx, metrics = run(tmp_path, id=str(made))
    assert metrics["damages"].value == 0
    for name in ("model.safetensors", "tokenizer.json", "config.json", "posttrain.json"):
        assert (ctx.out / name).read_bytes() == (made / name).read_bytes()
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(load.load(ctx.out).model(ids), load.load(made).model(ids))


def test_how_it_is_asked_can_be_changed(tmp_path, made):
    ctx, _ = run(tmp_path, id=str(made), template={"maths": "Q: {prompt}\nA:"})
    told = json.loads((ctx.out / "posttrain.json").read_text())
    assert told["templates"]["maths"] == "Q: {prompt}\nA:"
    assert told["templates"]["code"] == "{prompt}\n"


def test_a_model_without_tokenizer_fails_its_gate(tmp_path, made):
    """S-A10: no crash: the gate sound says what is missing."""
    folder = tmp_path / "bare"
    shutil.copytree(made, folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    ctx, metrics = run(tmp_path, id=str(folder))
    assert metrics["damages"].value >= 1
    assert not (ctx.out / "tokenizer.json").exists()


@pytest.mark.parametrize("what", ["nothing", "no config", "no weights", "another family"])
def test_a_base_that_is_no_model_is_exit_two(tmp_path, made, what: str):
    """S-C3: each a sentence of its own, exit code 2."""
    folder = tmp_path / "folder"
    shutil.copytree(made, folder)
    if what == "nothing":
        shutil.rmtree(folder)
        folder.mkdir()
    elif what == "no config":
        (folder / "config.json").unlink()
    elif what == "no weights":
        (folder / "model.safetensors").unlink()
    else:
        config = json.loads((folder / "config.json").read_text()) | {"model_type": "mamba"}
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError) as caught:
        run(tmp_path, id=str(folder))
    assert caught.value.code == 2


def test_hub_ids_and_unknown_presets_are_refused_by_name():
    """A hub id is refused with a clear sentence until hubs are read; an unknown preset names those there are."""
    (hub,) = base.check(base.Knobs(id="Qwen/Qwen2.5-Math-1.5B"), {})
    assert "hub id" in hub
    (unknown,) = base.check(base.Knobs(id="tiny:bse"), {})
    assert "tiny:base" in unknown
    assert base.check(base.Knobs(id="tiny:base"), {}) == ()


def test_a_folder_counts_by_its_content(made):
    """A folder is a path to the fingerprint, a preset and a hub id are text."""
    from posttrain.spec.knobs import files

    assert files(base.Knobs(id=str(made))) == {"id": made}
    assert files(base.Knobs(id="tiny:base")) == files(base.Knobs(id="a/b")) == {}


def test_the_kind_is_read_without_running_it():
    kind = stages.kind("base")
    assert kind.makes == "model"
    tiny, random = (kind.estimate(kind.knobs(id=name), {}) for name in ("tiny:base", "init:0.1m"))
    assert (tiny.tokens, random.tokens) == (presets.preset("tiny:base").pretrain.tokens, 0)
    assert tiny.memory > random.memory > 0


def test_a_preset_counts_by_its_content(tmp_path, monkeypatch):
    """S-A7: another shape or training of a preset is another fingerprint, with the preset named as the reason."""
    from posttrain import api
    from posttrain.models import presets

    recipe = tmp_path / "one.toml"
    recipe.write_text('format = 1\nname = "one"\nrun = "run"\n[stage.base]\nkind = "base"\nid = "init:0.1m"\n')
    asked = api.Asked(recipe, run=tmp_path / "run")
    before = api.plan(asked).plan.decisions["base"].fingerprint
    changed = tmp_path / "preset.toml"
    changed.write_text(presets.places()["init:0.1m"].read_text() + "\n# other\n")
    monkeypatch.setitem(presets.places(), "init:0.1m", changed)
    assert api.plan(asked).plan.decisions["base"].fingerprint != before
