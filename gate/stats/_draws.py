"""Draws from the joint null of all tasks, and how often any of three statistics passes its bound.

A random 16-bit word picks one of 65,536 equal cells of a task's distribution function. A table gives what the
outcome of the cell adds to the statistics; the few cells that more than one outcome shares are resolved by a
second random number, so that the draws follow the null exactly. That costs a few nanoseconds per task and
draw, at any discordant count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.stats._nulls import Null
from gate.stats._validate import FloatArray

_CELLS = 1 << 16
_CHUNK = 1 << 16
BATCH = 1 << 20
_HIT = 1e12  # added to Fisher's statistic by an outcome that passes the bound of the largest drop


@dataclass(frozen=True, slots=True)
class Bounds:
    """From where on each statistic counts as at least as extreme as the observed p-value."""

    pooled: float
    fisher: float
    largest: float


def additions(null: Null, bounds: Bounds) -> NDArray[np.complex128]:
    """What each outcome adds: Fisher's -ln p (real part) and the signed sum (imaginary part)."""
    cost = null.costs.copy()
    if np.isfinite(bounds.largest):
        cost[null.first_at_least(bounds.largest * null.sigma) :] += _HIT
    return cost + 1j * null.values


def hits(sums: NDArray[np.complex128], bounds: Bounds) -> NDArray[np.bool_]:
    """Which sums of `additions` pass a bound."""
    return (sums.real >= min(bounds.fisher, 0.5 * _HIT)) | (sums.imag >= bounds.pooled)


@dataclass(frozen=True, eq=False, slots=True)
class _Table:
    cells: NDArray[np.complex128]
    shared: NDArray[np.bool_]
    outcomes: NDArray[np.complex128]
    distribution: FloatArray

    def add_draws(self, sums: NDArray[np.complex128], generator: np.random.Generator) -> None:
        for start in range(0, sums.size, _CHUNK):
            part = sums[start : start + _CHUNK]
            raw: NDArray[np.uint64] = generator.bit_generator.random_raw((part.size + 3) // 4)
            words = raw.view(np.uint16)[: part.size]
            part += self.cells[words]
            open_ = np.flatnonzero(self.shared[words])
            place = (words[open_] + generator.random(open_.size)) / _CELLS
            at = np.searchsorted(self.distribution, place, side="right")
            part[open_] += self.outcomes[np.minimum(at, self.outcomes.size - 1)]


def _table(null: Null, bounds: Bounds) -> _Table:
    outcomes = additions(null, bounds)
    distribution = np.cumsum(null.pmf)
    distribution /= distribution[-1]
    edges = np.arange(_CELLS + 1) / _CELLS
    first = np.searchsorted(distribution, edges[:-1], side="right")
    last = np.minimum(np.searchsorted(distribution, edges[1:], side="left"), outcomes.size - 1)
    shared = first != last
    return _Table(np.where(shared, 0.0, outcomes[np.minimum(first, last)]), shared, outcomes, distribution)


def count_hits(nulls: Sequence[Null], bounds: Bounds, batch: int, size: int, seed: int) -> int:
    """How many of `size` joint draws pass a bound; `batch` numbers the independent streams of one seed."""
    sums = np.zeros(size, dtype=np.complex128)
    for k, null in enumerate(nulls):
        generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, batch, k])))
        _table(null, bounds).add_draws(sums, generator)
    return int(np.count_nonzero(hits(sums, bounds)))


def enumerate_hits(nulls: Sequence[Null], bounds: Bounds) -> float:
    """The exact probability of passing a bound, over all outcomes."""
    sums, mass = np.zeros(1, dtype=np.complex128), np.ones(1)
    for null in nulls:
        sums = np.add.outer(sums, additions(null, bounds)).ravel()
        mass = np.multiply.outer(mass, null.pmf).ravel()
    return float(min(1.0, mass[hits(sums, bounds)].sum()))
