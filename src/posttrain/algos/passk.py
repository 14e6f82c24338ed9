"""Pass@K and consensus of n graded samples per problem. Whole numbers until the last division."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import comb


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that k of n samples, drawn without replacement, hold a correct one, where c of the n are correct.

    1 - C(n-c, k) / C(n, k): the unbiased estimator of Pass@K (F3; Chen et al. 2021, arXiv 2107.03374, eq. 1).
    ValueError for k > n, k < 1, or c outside 0…n.
    """
    return float(_exact(n, c, k))


def _exact(n: int, c: int, k: int) -> Fraction:
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples; there are {n}")
    if not 0 <= c <= n:
        raise ValueError(f"{c} correct of {n} samples")
    return 1 - Fraction(comb(n - c, k), comb(n, k))


def pass_curve(n: int, k: int) -> tuple[float, ...]:
    """`pass_at_k(n, c, k)` for every c = 0…n: a table to look problems up in."""
    return tuple(pass_at_k(n, c, k) for c in range(n + 1))


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> Fraction:
    """The mean of F3 over problems, each given as (n, c): exact, so that equal scores are equal."""
    if not counts:
        raise ValueError("no problem to take a mean over")
    total = sum((_exact(n, c, k) * times for (n, c), times in Counter(counts).items()), Fraction(0))
    return total / len(counts)


def consensus(votes: Sequence[tuple[str | None, bool]]) -> float:
    """cons@n of one problem: is the most frequent answer right? Tied answers share: the mean over them.

    A vote is (final answer, is it right); a sample without an answer does not vote. No vote at all: 0.
    """
    cast = [(answer, right) for answer, right in votes if answer is not None]
    if not cast:
        return 0.0
    counted = Counter(answer for answer, _ in cast)
    most = max(counted.values())
    right = dict(cast)
    modes = [answer for answer, times in counted.items() if times == most]
    return sum(right[answer] for answer in modes) / len(modes)
