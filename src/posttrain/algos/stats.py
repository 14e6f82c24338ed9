"""Intervals and paired gains by resampling items."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

DRAWS = 4000
"""Bootstrap resamples; the end points of a 95 % interval then rest on 100 draws each."""

_CHUNK = 1 << 20
"""Elements resampled at a time: bounds memory at a few MiB whatever the number of items."""


@dataclass(frozen=True)
class Interval:
    """A mean over `n` items with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def bootstrap_mean(values: Sequence[float] | Float[ndarray, " I"], *, seed: int, draws: int = DRAWS) -> Interval:
    """Mean over items with its 95 % percentile interval; items are resampled with replacement.

    One value per item (per problem, never per sample): the interval is then clustered by problem. Equal values and
    seed give an equal interval. Efron & Tibshirani 1993, §13.3. ValueError where there is no item.
    """
    (only,) = bootstrap_means(np.asarray(values, dtype=np.float64)[None], seed=seed, draws=draws)
    return only


def bootstrap_means(
    columns: Sequence[Sequence[float]] | Float[ndarray, "M I"], *, seed: int, draws: int = DRAWS
) -> list[Interval]:
    """As `bootstrap_mean` for M metrics of the same items: every metric sees the same resamples, drawn once."""
    table = np.asarray(columns, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"one or more items per metric are needed, not the shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("a value is not finite")
    means = _resampled(table, seed=seed, draws=draws)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    centre = table.mean(axis=1)
    n = table.shape[1]
    return [Interval(float(v), float(a), float(b), n) for v, a, b in zip(centre, low, high, strict=True)]


def _resampled(table: Float[ndarray, "M I"], *, seed: int, draws: int) -> Float[ndarray, "M R"]:
    items = table.shape[1]
    rng = np.random.Generator(np.random.PCG64(seed))
    means = np.empty((table.shape[0], draws))
    step = max(1, _CHUNK // items)
    for start in range(0, draws, step):
        stop = min(draws, start + step)
        picked = rng.integers(0, items, size=(stop - start, items), dtype=np.int32)
        for row, out in zip(table, means, strict=True):
            out[start:stop] = row[picked].mean(axis=1)
    return means


def paired_gain(
    before: Sequence[float] | Float[ndarray, " I"],
    after: Sequence[float] | Float[ndarray, " I"],
    *,
    seed: int,
    draws: int = DRAWS,
) -> Interval:
    """Mean of after - before over items in the same order, with the 95 % interval of the paired differences."""
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} items before, {second.size} after: they must be the same items")
    return bootstrap_mean(second - first, seed=seed, draws=draws)


def wilson(right: int, of: int) -> Interval:
    """A proportion with its 95 % score interval, z = 1.959964. Wilson 1927. ValueError where nothing was counted."""
    if not 0 <= right <= of or of == 0:
        raise ValueError(f"{right} of {of} is no proportion")
    z, share = 1.959964, right / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * (share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), of)
