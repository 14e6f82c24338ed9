"""The kept state: whole or not there, one at a time, exact."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from crash_points import crashes, power_cut, restore
from posttrain.spec.errors import Mismatch
from posttrain.train import optim, state


def stepped(seed: int = 0) -> tuple[nn.Linear, optim.Optimiser]:
    model = nn.Linear(3, 2)
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, 3, generator=source))
    optimiser = optim.adamw(model)
    optimiser.set_lr(0.1)
    model(torch.ones(3)).sum().backward()
    optimiser.step()
    return model, optimiser


def test_what_is_kept_comes_back(tmp_path: Path):
    model, optimiser = stepped()
    keeper = state.Keeper(tmp_path, every=1)
    keeper.facts, keeper.tensors = {"seen": [1, 2]}, {"buffer/one": torch.arange(3)}
    assert keeper.keep(4, model, optimiser)
    other, fresh = stepped(seed=1)
    again = state.Keeper(tmp_path)
    assert again.restore(other, fresh) == 4
    assert again.facts == {"seen": [1, 2]}
    assert torch.equal(again.tensors["buffer/one"], torch.arange(3))
    assert torch.equal(other.weight, model.weight)
    assert {k: v.tolist() for k, v in fresh.tensors().items()} == {
        k: v.tolist() for k, v in optimiser.tensors().items()
    }


def test_time_adds_up_over_resumes(tmp_path: Path):
    """S-A13: seconds accumulate over resumes; they are measured and decide nothing."""
    model, optimiser = stepped()
    state.write(tmp_path, state.State(1, {}, {}, seconds=100.0))
    keeper = state.Keeper(tmp_path, every=1)
    assert keeper.seconds < 50
    model.requires_grad_(False)
    keeper.restore(model, optimiser)
    assert 100 <= keeper.seconds < 150
    keeper.keep(2, model, optimiser)
    assert state.read(tmp_path).seconds > 100


def test_nothing_kept_is_step_zero(tmp_path: Path):
    assert state.Keeper(tmp_path / "none").restore(*stepped()) == 0


def test_a_half_written_state_is_ignored(tmp_path: Path):
    """S-A7: what a kill left half written is not read, and the next save clears it away."""
    model, optimiser = stepped()
    keeper = state.Keeper(tmp_path, every=1)
    keeper.keep(1, model, optimiser)
    half = tmp_path / ".state-2"
    half.mkdir()
    (half / state.TENSORS).write_bytes(b"\0\0")
    assert state.Keeper(tmp_path).restore(*stepped()) == 1
    keeper.keep(2, model, optimiser)
    assert [p.name for p in tmp_path.iterdir()] == ["state-2"]


@pytest.mark.parametrize("file", [state.TENSORS, state.FACTS])
@pytest.mark.parametrize("how", ["flip", "cut", "gone", "empty"])
def test_a_damaged_state_is_not_gone_on_from(tmp_path: Path, file: str, how: str):
    """S-A8: exit 6, the folder to delete; nothing goes on from bytes that nobody wrote."""
    keeper = state.Keeper(tmp_path, every=1)
    keeper.facts = {"seen": [1, 2]}
    keeper.keep(3, *stepped())
    path = tmp_path / "state-3" / file
    data = path.read_bytes()
    changed = {"flip": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "cut": data[:-9], "empty": b""}
    path.unlink() if how == "gone" else path.write_bytes(changed[how])
    with pytest.raises(Mismatch, match="has changed since it was written") as error:
        state.Keeper(tmp_path).restore(*stepped())
    assert error.value.where == str(tmp_path / "state-3") and "Delete this folder" in error.value.remedy


def test_leftover_of_a_kill_between_rename_and_clearing(tmp_path: Path):
    """S-A7: two whole states: the newer counts, by number and not by name."""
    model, optimiser = stepped()
    keeper = state.Keeper(tmp_path, every=1)
    keeper.keep(10, model, optimiser)
    shutil.copytree(tmp_path / "state-10", tmp_path / "state-9")
    assert state.Keeper(tmp_path).restore(*stepped()) == 10


def test_a_state_is_there_at_every_moment_of_the_next_save(tmp_path: Path, monkeypatch):
    """S-A7: killed at any file operation of a save, of the next step or of the same again, a whole state is found."""
    model, optimiser = stepped()
    keeper = state.Keeper(tmp_path / "kept", every=1)
    keeper.keep(1, model, optimiser)
    for step in (2, 2):
        found = crashes(tmp_path / "kept", lambda step=step: keeper.keep(step, model, optimiser), monkeypatch)
        for crash in (cut for each in found for cut in (each, power_cut(each))):
            restore(crash, tmp_path / "left")
            left = state.read(tmp_path / "left")
            assert left is not None and left.step in (1, 2), crash.name
            assert left.tensors.keys() == state.read(tmp_path / "kept").tensors.keys()


def test_saving_is_rationed_by_what_it_costs(tmp_path: Path):
    """The first step is kept, the next one not: a save waits until it costs its share of the time at most."""
    model, optimiser = stepped()
    keeper = state.Keeper(tmp_path, share=1e-6)
    assert keeper.keep(1, model, optimiser)
    assert not keeper.keep(2, model, optimiser)
    assert keeper.keep(3, model, optimiser, last=True)
    assert state.read(tmp_path).step == 3


def test_only_what_is_trained_is_kept(tmp_path: Path):
    model, optimiser = stepped()
    model.bias.requires_grad_(False)
    state.Keeper(tmp_path, every=1).keep(1, model, optimiser)
    tensors = state.read(tmp_path).tensors
    assert "model/weight" in tensors and "model/bias" not in tensors


def test_decay_spares_vectors_and_muon_takes_hidden_matrices_only():
    model = nn.ModuleDict({"embed_tokens": nn.Embedding(3, 2), "q_proj": nn.Linear(2, 2), "lm_head": nn.Linear(2, 3)})
    hidden, rest = optim.muon(model, times=2.0).methods
    assert [p is model["q_proj"].weight for g in hidden.optimiser.param_groups for p in g["params"]] == [True]
    assert [len(g["params"]) for g in rest.optimiser.param_groups] == [2, 2]
    decays = [g["weight_decay"] for g in optim.adamw(model, weight_decay=0.3).methods[0].optimiser.param_groups]
    assert decays == [0.3, 0.0]


def test_muon_moves_as_torchs_own():
    """Against torch.optim.Muon: three steps over matrices of several shapes, equal to bfloat16 rounding."""
    shapes = [(6, 6), (4, 8), (8, 4), (6, 6)]
    source = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=source) for shape in shapes]
    ours, theirs = ([nn.Parameter(t.clone()) for t in start] for _ in range(2))
    pair = [(optim.Muon(ours), ours), (torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0), theirs)]
    pair[0][0].param_groups[0]["lr"] = 0.1
    for _ in range(3):
        gradients = [torch.randn(shape, generator=source) for shape in shapes]
        for optimiser, params in pair:
            for p, g in zip(params, gradients, strict=True):
                p.grad = g.clone()
            optimiser.step()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=0.01)


def test_orthogonal_brings_singular_values_near_one():
    matrices = torch.randn(3, 8, 24, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(optim.orthogonal(matrices).float())
    assert values.min() > 0.6
    assert values.max() < 1.3
