"""The language-model loss against closed forms, its gradient, and its invariance to how a batch is cut."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from posttrain.algos import lm


def some(rows: int, vocabulary: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return (
        torch.randn(rows, vocabulary, generator=source, dtype=torch.float64),
        torch.randint(vocabulary, (rows,), generator=source),
    )


def test_nll_is_minus_the_log_of_the_probability():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], dtype=torch.float64))
    got = lm.nll(logits, torch.tensor([1, 2]))
    assert got.tolist() == pytest.approx([-math.log(0.25), -math.log(0.8)], abs=1e-12)


def test_predicting_names_the_position_before_each_target():
    targets = torch.tensor([[False, False, True, True], [False, True, False, False]])
    assert lm.predicting(targets).tolist() == [1, 2, 4]


def test_first_token_of_a_row_can_be_no_target():
    with pytest.raises(ValueError, match="first token"):
        lm.predicting(torch.tensor([[True, False]]))


def test_a_batch_without_targets_has_no_mean():
    with pytest.raises(ValueError, match="no mean"):
        lm.mean_nll(*some(0), count=0)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 100))
def test_shares_of_a_cut_batch_add_up(left: int, right: int, seed: int):
    """S-D12: n micro-batches give the loss and the gradient of the one batch they are cut from."""
    logits, ids = some(left + right, seed=seed)
    whole = logits.clone().requires_grad_()
    loss = lm.mean_nll(whole, ids, count=left + right)
    loss.backward()
    cut = logits.clone().requires_grad_()
    shares = [lm.mean_nll(cut[s], ids[s], count=left + right) for s in (slice(0, left), slice(left, None))]
    for share in shares:
        share.backward()
    assert whole.grad is not None and cut.grad is not None
    assert sum(share.item() for share in shares) == pytest.approx(loss.item(), abs=1e-12)
    assert torch.allclose(whole.grad, cut.grad, atol=1e-12)


def test_gradient_is_softmax_minus_one_hot_over_count():
    logits, ids = some(4)
    logits.requires_grad_()
    lm.mean_nll(logits, ids, count=4).backward()
    expected = (torch.softmax(logits, 1) - torch.nn.functional.one_hot(ids, 5)) / 4
    assert logits.grad is not None
    assert torch.allclose(logits.grad, expected.detach(), atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: lm.mean_nll(x, ids, count=4), (logits,))
