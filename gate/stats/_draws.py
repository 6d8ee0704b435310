"""Draws from the joint null of all tasks: how often does any of three statistics pass its bound?

A random 16-bit word selects one of 65,536 equal cells of a task's distribution function. A table holds what
each cell's outcome adds to the statistics. The few cells that span several outcomes are resolved by a second
random number, so the draws follow the null exactly. The cost is a few nanoseconds per task and draw, at any
discordant count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.stats import _rules
from gate.stats._nulls import Null

_CELLS = 1 << 16
_CHUNK = 1 << 16
BATCH = 1 << 20
_HIT = 1e12  # added to Fisher's statistic where an outcome passes the bound of the largest drop


@dataclass(frozen=True, slots=True)
class Bounds:
    """The values from which each statistic counts as at least as extreme as the observed p-value."""

    pooled: float
    fisher: float
    largest: float


def additions(null: Null, bounds: Bounds) -> NDArray[np.complex128]:
    """Return what each outcome adds: Fisher's -ln p (real part) and the signed sum (imaginary part)."""
    cost = _rules.law_costs(null)
    if np.isfinite(bounds.largest):
        cost[null.first_at_least(bounds.largest * null.sigma) :] += _HIT
    return cost + 1j * null.values


def hits(sums: NDArray[np.complex128], bounds: Bounds) -> NDArray[np.bool_]:
    """Return which sums of `additions` pass a bound."""
    return (sums.real >= min(bounds.fisher, 0.5 * _HIT)) | (sums.imag >= bounds.pooled)


def _add_draws(sums: NDArray[np.complex128], null: Null, bounds: Bounds, generator: np.random.Generator) -> None:
    """Add what one random outcome of a task adds to each of the sums."""
    outcomes = additions(null, bounds)
    distribution = np.cumsum(null.pmf)
    distribution /= distribution[-1]
    edges = np.arange(_CELLS + 1) / _CELLS
    first = np.searchsorted(distribution, edges[:-1], side="right")
    last = np.minimum(np.searchsorted(distribution, edges[1:], side="left"), outcomes.size - 1)
    shared = first != last
    cells = np.where(shared, 0.0, outcomes[np.minimum(first, last)])
    for start in range(0, sums.size, _CHUNK):
        chunk = sums[start : start + _CHUNK]
        raw: NDArray[np.uint64] = generator.bit_generator.random_raw((chunk.size + 3) // 4)
        words = raw.view(np.uint16)[: chunk.size]
        chunk += cells[words]
        unresolved = np.flatnonzero(shared[words])
        quantile = (words[unresolved] + generator.random(unresolved.size)) / _CELLS
        index = np.searchsorted(distribution, quantile, side="right")
        chunk[unresolved] += outcomes[np.minimum(index, outcomes.size - 1)]


def count_hits(nulls: Sequence[Null], bounds: Bounds, batch: int, size: int, seed: int) -> int:
    """Return how many of `size` joint draws pass a bound; each `batch` is an independent stream of the seed."""
    sums = np.zeros(size, dtype=np.complex128)
    for k, null in enumerate(nulls):
        generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, batch, k])))
        _add_draws(sums, null, bounds, generator)
    return int(np.count_nonzero(hits(sums, bounds)))


def enumerate_hits(nulls: Sequence[Null], bounds: Bounds) -> float:
    """Return the exact probability of passing a bound, by enumerating all outcomes."""
    sums, mass = np.zeros(1, dtype=np.complex128), np.ones(1)
    for null in nulls:
        sums = np.add.outer(sums, additions(null, bounds)).ravel()
        mass = np.multiply.outer(mass, null.pmf).ravel()
    return float(min(1.0, mass[hits(sums, bounds)].sum()))
