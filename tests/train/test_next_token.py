"""Next-token training on a real little decoder: invariances, masks, epochs, checkpoints, resume."""

from pathlib import Path

import pytest
import torch
from little import model, problems
from torch.nn import functional

from posttrain.data.pack import Example, micro_batches
from posttrain.spec.errors import BudgetReached, StageFailed
from posttrain.train import lm, loop, material, optim, scratch
from posttrain.train.state import Keeper

ASKED = material.asked(model())
ROWS = tuple(ASKED.examples(material.turns(problems("algebra", 12))))
DRAW = lm.Draw(rows=10, max_tokens=512, window=128, packing=True, seed=3)


def gradient_of(batches) -> tuple[float, list[torch.Tensor]]:
    loaded = model()
    shares = [part() for part in lm.parts(loaded.model, batches)]
    sum(shares).backward()
    return sum(s.item() for s in shares), [p.grad for p in loaded.model.parameters() if p.grad is not None]


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("max_tokens", [64, 300, 10_000])
def test_loss_and_gradient_do_not_depend_on_how_a_batch_is_cut(packing: bool, max_tokens: int):
    """S-C2 S-D12: packed, padded, in one part or many: one loss (1e-5) and one gradient."""
    loss, gradient = gradient_of(micro_batches(ROWS, max_tokens=100_000, packing=False, window=128))
    other, cut = gradient_of(micro_batches(ROWS, max_tokens=max_tokens, packing=packing, window=128))
    assert other == pytest.approx(loss, abs=1e-5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(gradient, cut, strict=True))


def test_the_loss_is_the_mean_over_response_tokens_and_end():
    """S-B10 S-C1: every response token and EOS is trained; a prompt token contributes exactly zero."""
    loaded, total, count = model(), 0.0, 0
    for row in ROWS:
        logits = loaded.model(torch.tensor([row.ids]))[0]
        for t in range(1, len(row.ids)):
            if row.mask[t]:
                total += functional.cross_entropy(logits[t - 1], torch.tensor(row.ids[t])).item()
                count += 1
    assert all(row.ids[-1] == loaded.tokenizer.eos_token_id and row.mask[-1] for row in ROWS)
    assert lm.mean_loss(loaded.model, ROWS, max_tokens=200) == pytest.approx(total / count, abs=1e-5)


def test_a_prompt_token_is_no_target():
    """S-C1: the loss of a row is that of its response alone."""
    loaded = model()
    row = Example(ids=(5, 6, 7, 8), mask=(False, False, False, True))
    alone = Example(ids=(5, 6, 7, 8), mask=(True, True, True, True))
    hidden = loaded.model(torch.tensor([row.ids]))[0]
    expected = functional.cross_entropy(hidden[2:3], torch.tensor([8])).item()
    assert lm.mean_loss(loaded.model, [row], max_tokens=64) == pytest.approx(expected, abs=1e-6)
    assert lm.mean_loss(loaded.model, [alone], max_tokens=64) != pytest.approx(expected, abs=1e-3)


def test_an_epoch_takes_each_row_once_and_flushes_its_last_batch():
    """S-D12: the last, smaller batch of an epoch is trained too; another epoch has another order."""
    epochs = [[DRAW.picks(s, 24) for s in range(e * 3, e * 3 + 3)] for e in range(2)]
    assert [len(picks) for picks in epochs[0]] == [10, 10, 4]
    for epoch in epochs:
        assert sorted(i for picks in epoch for i in picks) == list(range(24))
    assert epochs[0] != epochs[1]
    assert DRAW.epoch(6, 24) == 2.0


def course(steps: int, lr: float = 3e-3) -> loop.Course:
    return loop.Course(steps=steps, lr=lr)


class Killed(Exception):
    """Stands for kill -9."""


def fine(folder: Path, steps: int = 6, *, stop: int | None = None, lr: float = 3e-3, spend=None):
    loaded, told, saved = model(), [], []

    def emit(**numbers):
        told.append(numbers)
        if numbers["step"] == stop:
            raise Killed

    rows = material.tokenised(
        material.turns(problems("algebra", 12)), [], material.turns(problems("algebra", 4, "val")),
        asked=ASKED, window=128, seed=1,
    )  # fmt: skip
    hooks = lm.Hooks(emit=emit, spend=spend or (lambda tokens: None), save=saved.append, every=4)
    keeper = Keeper(folder, every=2)
    return (
        lm.finetune(loaded.model, rows, course(steps, lr), DRAW, keeper=keeper, hooks=hooks, decay=0.0),
        loaded,
        told,
        saved,
    )


def test_a_set_is_learnt_by_heart(tmp_path: Path):
    """S-C1: the loss of an overfit set falls by half or more."""
    trained, *_ = fine(tmp_path, steps=60, lr=1e-2)
    assert trained.last < 0.5 * trained.first


def test_every_step_is_told_and_checkpoints_stand_on_the_grid_and_at_the_end(tmp_path: Path):
    trained, _, told, saved = fine(tmp_path)
    assert [t["step"] for t in told] == [0, 1, 2, 3, 4, 5, 6]
    assert {"loss", "grad_norm", "lr", "tokens", "epoch"} <= told[1].keys()
    assert saved == [4, 6]
    assert sorted(trained.val) == [0, 4, 6]
    assert trained.val[6] == told[-1]["val_loss"]
    assert trained.tokens == sum(t["tokens"] for t in told[1:])
    assert trained.epochs == pytest.approx(2.0)


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 6])
def test_a_killed_finetune_ends_with_the_same_bits(tmp_path: Path, stop: int):
    """S-A7: weights, losses and counts of a resumed run equal those of an uninterrupted one."""
    whole, loaded, *_ = fine(tmp_path / "whole")
    with pytest.raises(Killed):
        fine(tmp_path / "cut", stop=stop)
    trained, again, *_ = fine(tmp_path / "cut")
    assert trained == whole
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), again.model.parameters(), strict=True))


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.99])
def test_a_finetune_counts_its_tokens_before_it_trains_on_them(tmp_path: Path, share: float):
    """A cap is never passed, no step is lost or done twice, and the bits are those of an undisturbed run."""
    whole, loaded, *_ = fine(tmp_path / "whole")
    spent, cap = [0], share * whole.tokens

    def spend(tokens: int):
        if spent[0] + tokens > cap:
            raise BudgetReached("the cap is reached.")
        spent[0] += tokens

    with pytest.raises(BudgetReached):
        fine(tmp_path / "cut", spend=spend)
    assert spent[0] <= cap
    cap = whole.tokens
    trained, again, *_ = fine(tmp_path / "cut", spend=spend)
    assert trained == whole and spent[0] == whole.tokens
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.parameters(), again.model.parameters(), strict=True))


def test_a_weight_that_is_no_number_stops_the_run(tmp_path: Path):
    """S-A8: exit code 7 before the first step has moved a weight."""
    loaded = model()
    with torch.no_grad():
        loaded.model.model.norm.weight[0] = float("nan")
    with pytest.raises(StageFailed, match="step 1"):
        loop.update(
            loaded.model, optim.adamw(loaded.model), lm.parts(loaded.model, DRAW.batches(ROWS, 0)), clip=1.0, step=1
        )


def test_pretraining_reads_each_document_once_and_resumes(tmp_path: Path):
    """S-A7: from scratch too: killed in the middle, the same bits."""
    documents = scratch.gather(material.one_each(problems("geometry", 60), seed=1), ASKED, tokens=1500)
    steps = scratch.portions(documents, 300)
    assert [i for step in steps for i in step] == list(range(sum(map(len, steps))))
    assert all(sum(len(documents[i].ids) for i in step) >= 300 for step in steps)

    spent = list[int]()

    def run(folder: Path, stop: int | None = None):
        loaded = model()

        def emit(step: int, **_):
            if step == stop:
                raise Killed

        def spend(tokens: int):
            spent.append(tokens)

        arguments = {"steps": steps, "muon": 5.0, "keeper": Keeper(folder, every=1), "tell": loop.Tell(emit, spend)}
        return scratch.pretrain(loaded.model, documents, course(len(steps)), **arguments), loaded

    loss, whole = run(tmp_path / "whole")
    assert spent == [sum(len(documents[i].ids) for i in step) for step in steps]
    with pytest.raises(Killed):
        run(tmp_path / "cut", stop=3)
    again, resumed = run(tmp_path / "cut")
    assert again == loss
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))
