"""Merging: the specification's vectors, identities, and bounds on rounding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from posttrain.algos.merge import (
    check_shares,
    equal_shares,
    linear,
    squared_distance,
    task_arithmetic,
    task_coefficients,
    ulp_gap,
    weighted_sum,
)

ONE, TWO, BASE = torch.tensor([1.0, 2, 4]), torch.tensor([3.0, 2, 0]), torch.ones(3)


def test_fusion_vectors() -> None:
    """S-C8, S-C9: uniform, weighted and task arithmetic, exact on the toy of the specification (§5)."""
    assert linear([ONE, TWO], equal_shares(2)).tolist() == [2, 2, 2]
    assert linear([ONE, TWO], (0.25, 0.75)).tolist() == [2.5, 2, 1]
    assert task_arithmetic(BASE, [ONE, TWO], scale=0.5).tolist() == [2, 2, 2]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_copies_give_identity(count: int, dtype: torch.dtype) -> None:
    """S-C8: the mean of N copies is the copy, to the bit."""
    tensor = torch.randn(1000, generator=torch.Generator().manual_seed(count)).mul(37).to(dtype)
    assert torch.equal(linear([tensor] * count, equal_shares(count)).to(dtype), tensor)
    assert torch.equal(task_arithmetic(tensor, [tensor] * count, scale=0.3).to(dtype), tensor)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 1000))
def test_mean_is_within_one_ulp(parts: list[int], seed: int) -> None:
    """S-C8: each tensor is the exact weighted mean within one unit in the last place, in either format."""
    draw = torch.Generator().manual_seed(seed)
    experts = [torch.randn(50, generator=draw).mul(10.0**e) for e in range(-2, len(parts) - 2)]
    shares = [part / sum(parts) for part in parts]
    merged = linear(experts, shares)
    exact = weighted_sum(experts, shares)
    assert ulp_gap(merged, exact) <= 0.5 + 1e-6
    assert ulp_gap(merged.bfloat16(), exact) <= 0.51


def test_ulp_gap_counts_units_of_the_format() -> None:
    exact = torch.tensor([1.0, 1.5, 4.0], dtype=torch.float64)
    value = exact.float()
    assert ulp_gap(value, exact) == 0
    assert ulp_gap(value + torch.tensor([0, 0, 3 * 2.0**-21]), exact) == 3
    assert ulp_gap(exact.bfloat16() + torch.tensor([2.0**-7, 0, 0]).bfloat16(), exact) == 1
    assert ulp_gap(torch.zeros(2), torch.zeros(2, dtype=torch.float64)) == 0
    assert ulp_gap(torch.full((1,), 1.0), torch.full((1,), float("nan"), dtype=torch.float64)) == float("inf")


def test_slightly_unequal_shares_show_in_the_gap() -> None:
    """The planted defect of gate `averaged`: shares other than those recorded."""
    experts = [torch.randn(500, generator=torch.Generator().manual_seed(s)) for s in (1, 2)]
    assert ulp_gap(linear(experts, (0.5001, 0.4999)), weighted_sum(experts, (0.5, 0.5))) > 1


def test_task_arithmetic_is_a_weighted_sum() -> None:
    assert task_coefficients(2, 0.5) == (0.0, 0.5, 0.5)
    assert task_coefficients(3, 1.0) == (-2.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("shares", "says"),
    [((0.5, 0.6), "sum"), ((-0.5, 1.5), "negative"), ((1.0,), "1 shares for 2"), ((0.4, 0.6 - 2e-9), "sum")],
)
def test_bad_shares_are_refused(shares: tuple[float, ...], says: str) -> None:
    """S-C8: bad shares are errors."""
    with pytest.raises(ValueError, match=says):
        linear([ONE, TWO], shares)


def test_shares_within_the_tolerance_are_taken() -> None:
    check_shares((0.4, 0.6 - 5e-10), 2)


def test_distance_is_euclidean() -> None:
    assert squared_distance(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])) == 25.0
