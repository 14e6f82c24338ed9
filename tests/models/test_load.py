"""The loader and the saver: stock transformers reads what we write, and we what it writes."""

import json
from pathlib import Path

import pytest
import torch
from tiny_models import SHAPE, TEXTS, saved, tiny
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from posttrain.models import load as loading
from posttrain.models import weights
from posttrain.models.load import compute_format, load, save
from posttrain.models.presets import preset, presets
from posttrain.models.size import size_of
from posttrain.spec.errors import Mismatch, UsageError

IDS = torch.tensor([[5, 70, 8, 99, 260, 12]])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_stock_classes_load_and_generate_what_we_save(tmp_path: Path, family: str, tied: bool) -> None:
    """S-A1: stock AutoModelForCausalLM and AutoTokenizer load the result and generate."""
    changes = {"model_type": family, "tie_word_embeddings": tied, "max_position_embeddings": 64}
    folder = saved(tmp_path / "ein Modell ü", **changes)
    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ours = load(folder)
    with torch.no_grad():
        assert (theirs(IDS).logits - ours.model(IDS)).abs().max() <= 1e-5
    prompt = tokenizer("Find the area", return_tensors="pt")
    out = theirs.generate(**prompt, max_new_tokens=4, do_sample=False)
    assert out.shape[1] > prompt["input_ids"].shape[1]
    assert GenerationConfig.from_pretrained(folder).eos_token_id == tokenizer.eos_token_id == 1
    assert tokenizer.decode(tokenizer(TEXTS[0]).input_ids) == TEXTS[0]


@pytest.mark.parametrize("shard", ["1GB", "20KB"])
def test_we_load_what_transformers_saves(tmp_path: Path, shard: str) -> None:
    """S-A1, the reverse: whole files and shards with an index."""
    first = saved(tmp_path / "ours", tie_word_embeddings=False)
    theirs = AutoModelForCausalLM.from_pretrained(first)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=shard)
    AutoTokenizer.from_pretrained(first).save_pretrained(tmp_path / "theirs")
    assert (tmp_path / "theirs" / weights.INDEX).exists() == (shard == "20KB")
    again = load(tmp_path / "theirs")
    assert torch.equal(again.model(IDS), load(first).model(IDS))
    save(again, tmp_path / "back")
    assert contents(tmp_path / "back")["model.safetensors"] == contents(first)["model.safetensors"]


def test_saving_is_deterministic_and_survives_a_round(tmp_path: Path) -> None:
    one, two = saved(tmp_path / "one"), saved(tmp_path / "two")
    assert contents(one) == contents(two)
    save(load(one), tmp_path / "three")
    assert contents(one) == contents(tmp_path / "three")
    assert load(one).prompting == {"chat": False}
    text = b"".join(contents(tmp_path / "three").values())
    assert str(tmp_path).encode() not in text


def test_other_seeds_are_other_weights() -> None:
    assert not torch.equal(tiny(1).model(IDS), tiny(2).model(IDS))


def test_shards_we_write_are_read_by_transformers(tmp_path: Path) -> None:
    loaded = tiny()
    save(loaded, tmp_path)
    (tmp_path / weights.SINGLE).unlink()
    state = {name: tensor.detach() for name, tensor in loaded.model.state_dict().items()}
    weights.write(tmp_path, state, shard_bytes=30_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        assert (theirs(IDS).logits - load(tmp_path).model(IDS)).abs().max() <= 1e-5


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_effective_precision_is_read_from_the_weights(tmp_path: Path, precision: str) -> None:
    loaded = load(saved(tmp_path / "base"), precision=precision)
    assert loaded.precision == precision
    save(loaded, tmp_path / "again")
    assert (
        json.loads((tmp_path / "again" / "config.json").read_text())["dtype"]
        == {
            "fp32": "float32",
            "bf16": "bfloat16",
            "fp16": "float16",
        }[precision]
    )
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "again").dtype == loaded.model.head_weight.dtype


def test_mixed_precision_is_said_to_be_mixed(tmp_path: Path) -> None:
    loaded = tiny()
    loaded.model.model.norm.weight.data = loaded.model.model.norm.weight.data.bfloat16()
    assert loaded.precision == "mixed"


def test_loaded_weights_are_our_own_memory(tmp_path: Path) -> None:
    """Changing a loaded model changes no file."""
    folder = saved(tmp_path)
    before = contents(folder)
    with torch.no_grad():
        for parameter in load(folder).model.parameters():
            parameter.add_(1.0)
    assert contents(folder) == before


def test_a_folder_without_config_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match=r"the config is not usable: it has no config\.json"):
        load(tmp_path)


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    """transformers 5 would return an empty tokenizer without a word."""
    folder = saved(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(Mismatch, match="the tokenizer cannot be used: it holds no tokenizer"):
        load(folder)


def test_an_unknown_family_names_the_known_ones(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "gpt2"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Mismatch, match="llama, qwen2, qwen3"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"intermediate_size": 40}, "has the shape"),
        ({"num_hidden_layers": 3}, "is missing"),
        ({"num_hidden_layers": 1}, "belongs to no part"),
    ],
)
def test_weights_that_differ_from_the_config_are_a_mismatch(tmp_path: Path, change: dict[str, int], says: str) -> None:
    folder = saved(tmp_path)
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(Mismatch, match=says):
        load(folder)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int3"):
        load(saved(tmp_path), precision="int3")


def test_auto_compute_is_a_format_of_the_device() -> None:
    assert compute_format("auto", "cpu") in ("fp32", "bf16")
    assert compute_format("fp32", "cpu") == "fp32"


def test_stop_ids_join_tokenizer_config_and_generation_config() -> None:
    loaded = tiny()
    loaded.config["eos_token_id"] = [1, 7]
    loaded.generation["eos_token_id"] = 9
    assert loaded.stop_ids == {1, 7, 9}


def test_presets_have_the_sizes_they_say() -> None:
    assert set(presets()) >= {"tiny:base", "init:0.1m"}
    base, smoke = (size_of({**preset(n).config, "vocab_size": 430}) for n in ("tiny:base", "init:0.1m"))
    assert 0.8e6 < base.parameters < 0.9e6
    assert 0.08e6 < smoke.parameters < 0.12e6
    with pytest.raises(UsageError, match="tiny:base"):
        preset("tiny:huge")


def test_build_lets_the_tokenizer_decide_vocabulary_and_end() -> None:
    loaded = tiny()
    assert loaded.config["vocab_size"] == len(loaded.tokenizer) == loaded.model.head_weight.shape[0]
    assert loaded.config["eos_token_id"] == loaded.tokenizer.eos_token_id
    assert loaded.config["architectures"] == ["Qwen3ForCausalLM"]
    assert "vocab_size" not in SHAPE
    assert loading.precision_of(loaded.model) == "fp32"
