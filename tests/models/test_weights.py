"""Merging model folders: streamed, exact, refusing what does not belong together."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import TEXTS, saved, tiny
from transformers import AutoModelForCausalLM

from posttrain.models import weights
from posttrain.models.load import load, save
from posttrain.models.presets import Vocabulary
from posttrain.models.sound import damages
from posttrain.models.tokens import train_tokenizer, write_tokenizer
from posttrain.models.weights import merge, places, spot_check, stream
from posttrain.spec.errors import Mismatch, UsageError

SHARES = (0.25, 0.75)


def experts(root: Path, count: int = 2, **changes: object) -> dict[str, Path]:
    return {f"probe/{i}": saved(root / f"expert{i}", seed=i, **changes) for i in range(count)}


@pytest.mark.parametrize("tied", [True, False])
def test_each_tensor_is_the_weighted_mean(tmp_path: Path, tied: bool) -> None:
    """S-C8, S-C9: every tensor within one unit in the last place; tied weights, tokenizer, configs kept; it loads."""
    sources = experts(tmp_path, tie_word_embeddings=tied)
    merged = merge(sources, SHARES, tmp_path / "out", like=sources["probe/0"])
    one, two = (dict(stream(folder)) for folder in sources.values())
    out = dict(stream(tmp_path / "out"))
    assert out.keys() == one.keys()
    assert ("lm_head.weight" in out) == (not tied)
    for name, tensor in out.items():
        exact = 0.25 * one[name].double() + 0.75 * two[name].double()
        torch.testing.assert_close(tensor.double(), exact, rtol=6e-8, atol=1e-12)
    assert spot_check(tuple(sources.values()), SHARES, tmp_path / "out") <= 0.5
    for file in ("config.json", "generation_config.json", "posttrain.json", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "out" / file).read_bytes() == (sources["probe/0"] / file).read_bytes()
    assert damages(tmp_path / "out") == []
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.tie_word_embeddings == tied
    assert 0 < merged.distances[1] < merged.distances[0]


def test_copies_give_the_same_bytes(tmp_path: Path) -> None:
    """S-C8: N copies give identity."""
    folder = saved(tmp_path / "expert")
    merged = merge({"a": folder, "b": folder, "c": folder}, (1 / 3,) * 3, tmp_path / "out", like=folder)
    assert (tmp_path / "out/model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert merged.distances == (0.0, 0.0, 0.0)


def test_shares_other_than_those_recorded_are_seen(tmp_path: Path) -> None:
    """Gate `averaged`: slightly unequal shares leave the unit in the last place."""
    sources = experts(tmp_path)
    merge(sources, (0.5001, 0.4999), tmp_path / "out", like=sources["probe/0"])
    assert spot_check(tuple(sources.values()), (0.5, 0.5), tmp_path / "out") > 1


@pytest.mark.parametrize("stored", ["bf16", "fp32"])
def test_the_format_is_the_base_s_or_the_one_asked(tmp_path: Path, stored: str) -> None:
    sources = experts(tmp_path)
    for name, folder in sources.items():
        save(load(folder, precision=stored), tmp_path / stored / name)
    sources = {name: tmp_path / stored / name for name in sources}
    merge(sources, SHARES, tmp_path / "same", like=sources["probe/0"])
    assert load(tmp_path / "same", precision=stored).precision == stored
    assert {t.dtype for _, t in stream(tmp_path / "same")} == {t.dtype for _, t in stream(sources["probe/0"])}
    merge(sources, SHARES, tmp_path / "half", like=sources["probe/0"], dtype=torch.float16)
    assert {t.dtype for _, t in stream(tmp_path / "half")} == {torch.float16}
    assert json.loads((tmp_path / "half/config.json").read_text())["dtype"] == "float16"
    for out in ("same", "half"):
        assert spot_check(tuple(sources.values()), SHARES, tmp_path / out) <= 0.51


def test_shards_are_written_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-C8: memory is bounded by shards; sharded sources and results merge alike."""
    sources = experts(tmp_path)
    merge(sources, SHARES, tmp_path / "whole", like=sources["probe/0"])
    small = {}
    for name, folder in sources.items():
        small[name] = tmp_path / "small" / name
        small[name].mkdir(parents=True)
        weights.copy_companions(folder, small[name])
        weights.write(small[name], dict(stream(folder)), shard_bytes=20_000)
    monkeypatch.setattr(weights.write_each, "__kwdefaults__", {"shard_bytes": 20_000})
    merge(small, SHARES, tmp_path / "sharded", like=small["probe/0"])
    assert len(set(places(tmp_path / "sharded").values())) > 2
    whole, sharded = dict(stream(tmp_path / "whole")), dict(stream(tmp_path / "sharded"))
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)


def test_other_shapes_tokenizers_and_templates_are_mismatches(tmp_path: Path) -> None:
    """S-C8: a mismatch names the pair and the tensor."""
    one, other = saved(tmp_path / "one"), tmp_path / "other"
    saved(other, intermediate_size=40)
    with pytest.raises(Mismatch, match=r"one and other.*mlp\.down_proj\.weight has the shape \[32, 48\] in one"):
        merge({"one": one, "other": other}, SHARES, tmp_path / "out", like=one)
    saved(other, seed=2, rope_parameters={"rope_type": "default", "rope_theta": 5.0})
    with pytest.raises(Mismatch, match="architectures"):
        merge({"one": one, "other": other}, SHARES, tmp_path / "out", like=one)
    saved(other, num_hidden_layers=1)
    with pytest.raises(Mismatch, match=r"layers\.1.*is in one and not in the other"):
        merge({"one": one, "other": other}, SHARES, tmp_path / "out", like=one)
    saved(other, seed=2)
    (other / "posttrain.json").write_text('{"chat": true}')
    with pytest.raises(Mismatch, match="templates"):
        merge({"one": one, "other": other}, SHARES, tmp_path / "out", like=one)
    saved(other, seed=2)
    write_tokenizer(train_tokenizer([t[::-1] for t in TEXTS], Vocabulary(size=400)), other)
    with pytest.raises(Mismatch, match="tokenizers"):
        merge({"one": one, "other": other}, SHARES, tmp_path / "out", like=one)


def test_quantised_sources_are_a_mismatch(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "one"), saved(tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)
    save_file(tensors, other / "model.safetensors")
    with pytest.raises(Mismatch, match=r"model\.norm\.weight is quantised"):
        merge({"one": one, "other": other}, SHARES, tmp_path / "out", like=one)
    config = json.loads((one / "config.json").read_text()) | {"quantization_config": {"bits": 4}}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(Mismatch, match="quantised"):
        merge({"one": one, "other": other}, SHARES, tmp_path / "out", like=one)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a")
    with pytest.raises(UsageError, match="no weights"):
        places(tmp_path)
    for index in ("{", "[]", '{"weight_map": 3}'):
        (folder / weights.INDEX).write_text(index)
        with pytest.raises(Mismatch, match="index"):
            places(folder)
    (folder / weights.INDEX).write_text('{"weight_map": {"x": "../elsewhere.safetensors"}}')
    with pytest.raises(Mismatch, match="outside"):
        list(stream(folder))
    (folder / weights.INDEX).write_text('{"weight_map": {"absent": "model.safetensors"}}')
    with pytest.raises(Mismatch, match="absent"):
        list(stream(folder))


def test_writing_moves_no_weights_of_the_model(tmp_path: Path) -> None:
    loaded = tiny()
    before = loaded.model.head_weight.detach().clone()
    save(loaded, tmp_path)
    assert torch.equal(before, loaded.model.head_weight)
