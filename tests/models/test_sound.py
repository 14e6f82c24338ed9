"""The deep check: five damages, five sentences, nothing said of a sound folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_models import saved, tiny

from posttrain.models import weights
from posttrain.models.load import load, save
from posttrain.models.sound import damages, refuse_damaged
from posttrain.spec.errors import Mismatch


def delete_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def truncate_shard(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def delete_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def put_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def leave_adapter_alone(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    save_file({"a": torch.zeros(2)}, folder / "adapter_model.safetensors")


FIVE: dict[str, Callable[[Path], None]] = {
    "config": delete_config,
    "weight": truncate_shard,
    "tokenizer": delete_tokenizer,
    "not finite": put_nan,
    "adapter": leave_adapter_alone,
}


@pytest.mark.parametrize("tied", [True, False])
def test_a_sound_folder_has_no_damages(tmp_path: Path, tied: bool) -> None:
    assert damages(saved(tmp_path, tie_word_embeddings=tied)) == []


def test_five_damages_have_five_sentences(tmp_path: Path) -> None:
    """S-A10: deleted config, truncated shard, deleted tokenizer, NaN, adapter without its base."""
    sound = saved(tmp_path / "sound")
    said = {}
    for name, damage in FIVE.items():
        folder = tmp_path / name.replace(" ", "_")
        shutil.copytree(sound, folder)
        damage(folder)
        (said[name],) = damages(folder)
        assert name in said[name]
    assert len(set(said.values())) == 5


def test_a_damaged_folder_is_not_loaded(tmp_path: Path) -> None:
    """S-A10: every load checks as deep as that costs little, in the words of the deep check, exit 6."""
    sound = saved(tmp_path / "sound")
    for name, damage in FIVE.items():
        folder = tmp_path / name.replace(" ", "_")
        shutil.copytree(sound, folder)
        damage(folder)
        (said,) = damages(folder)
        for use in (load, lambda place: refuse_damaged(place, "the expert")):
            with pytest.raises(Mismatch) as error:
                use(folder)
            assert error.value.what.rstrip(".") == said.rstrip(".")
            assert str(folder) in error.value.where and "Restore" in error.value.remedy
    refuse_damaged(sound, "the expert")


@given(st.lists(st.floats(width=32), min_size=1, max_size=40), st.sampled_from([torch.float32, torch.bfloat16]))
def test_finite_is_every_number(numbers: list[float], format: torch.dtype) -> None:
    tensor = torch.tensor(numbers).to(format)
    assert weights.is_finite(tensor) == bool(torch.isfinite(tensor).all())


def test_no_numbers_are_finite() -> None:
    assert weights.is_finite(torch.zeros(0))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    loaded = tiny()
    save(loaded, tmp_path)
    (tmp_path / weights.SINGLE).unlink()
    weights.write(tmp_path, {n: t.detach() for n, t in loaded.model.state_dict().items()}, shard_bytes=30_000)
    assert damages(tmp_path) == []
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    shards[1].unlink()
    (one,) = damages(tmp_path)
    assert shards[1].name in one


def test_wrong_shapes_missing_tensors_and_no_weights(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    for change, says in (({"num_hidden_layers": 3}, "lack model.layers.2"), ({"intermediate_size": 40}, "[32, 40]")):
        (folder / "config.json").write_text(json.dumps(config | change))
        assert says in damages(folder)[0]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    assert "holds no weights" in damages(folder)[0]
    assert damages(tmp_path / "nowhere") == ["the folder is not there"]


def test_a_tokenizer_with_more_ids_than_rows(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    loaded = tiny()
    loaded.tokenizer.add_tokens(["<extra>"])
    loaded.tokenizer.save_pretrained(folder)
    (one,) = damages(folder)
    assert "rows" in one


def test_a_tokenizer_that_loses_text(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (one,) = damages(folder)
    assert "does not give text back" in one


def test_integer_weights_are_no_weights(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (one,) = damages(folder)
    assert "I8" in one
