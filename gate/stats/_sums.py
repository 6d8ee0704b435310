"""Upper tails of a sum of independent discrete variables; rounding can only enlarge them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from gate.stats._validate import FloatArray

_FFT_ERROR = 1e-15  # added to every tail taken from a Fourier transform
FAR = 1e-9
"""Below this the plain Fourier transform is not accurate enough."""

_BEYOND = 1e5  # a value that large lies beyond every grid

ENUMERATE = 1_000_000
"""Largest number of joint outcomes that is enumerated."""

_TIE = 1e-10


@dataclass(frozen=True, eq=False, slots=True)
class SumLaw:
    """P[S >= x] as a step function: `tail[i]` applies from just above `points[i - 1]` up to `points[i]`.

    If `exact`, the points are the possible values of S; otherwise S is rounded up to a grid of points, and `beyond` is
    the probability of a value beyond all of them.
    """

    points: FloatArray
    tail: FloatArray
    exact: bool
    beyond: float = 0.0

    def sf(self, x: FloatArray | float) -> FloatArray:
        """Return P[S >= x] or slightly more."""
        index = np.searchsorted(self.points, x - _TIE * (1.0 + np.abs(x)), side="left")
        return np.where(index < self.points.size, self.tail[np.minimum(index, self.points.size - 1)], self.beyond)

    def critical(self, level: float) -> float:
        """Return a bound above which P[S >= x] <= level; inf if no value is that rare."""
        index = int(np.searchsorted(-self.tail, -level, side="left"))
        if index == self.tail.size:
            return math.inf if self.exact or self.beyond > level else float(self.points[-1])
        if index == 0:
            return -math.inf
        below = float(self.points[index - 1])
        return 0.5 * (below + float(self.points[index])) if self.exact else below


def sum_law(
    values: Sequence[FloatArray], pmfs: Sequence[FloatArray], low: float, high: float, coarse: bool = False
) -> SumLaw:
    """Return the law of the sum of independent variables, accurate for tails above about 1e-9.

    A small number of outcomes is enumerated. Otherwise each value is rounded up to a cyclic grid over
    [low, high), and the variables are convolved by Fourier transform; at most about 1e-17 of the sum's mass may
    lie outside. `coarse` uses a quarter of the grid and enumerates less, for planning, where two digits are
    enough.
    """
    outcomes = math.prod(v.size for v in values)
    if outcomes <= (ENUMERATE // 50 if coarse else ENUMERATE):
        return _enumerated(values, pmfs)
    tasks = len(values)
    size = 1 << ((17 if tasks <= 8 else 18 if tasks <= 24 else 19) - (2 if coarse else 0))
    step = (high - low) / size
    product, within = np.ones(size // 2 + 1, dtype=np.complex128), 1.0
    for value, pmf in zip(values, pmfs, strict=True):
        kept = (pmf > 1e-40) & (value < _BEYOND)
        within *= 1.0 - float(pmf[value >= _BEYOND].sum())
        ring = np.ceil(value[kept] / step - 1e-9).astype(np.int64) % size
        product *= np.fft.rfft(np.bincount(ring, weights=pmf[kept], minlength=size))
    mass = np.fft.irfft(product, size)
    first = math.floor(low / step)
    mass = np.roll(mass, -(first % size))
    beyond = 1.0 - within
    tail = np.cumsum(np.maximum(mass, 0.0)[::-1])[::-1] + (_FFT_ERROR + beyond)
    # Rounding up: {true sum >= x} implies {rounded sum >= the first grid point at or above x}.
    points = step * (first + np.arange(size, dtype=np.float64))
    return SumLaw(points, np.minimum(tail, 1.0), exact=False, beyond=beyond)


def _enumerated(values: Sequence[FloatArray], pmfs: Sequence[FloatArray]) -> SumLaw:
    sums, mass = np.zeros(1), np.ones(1)
    for value, pmf in zip(values, pmfs, strict=True):
        sums = np.add.outer(sums, value).ravel()
        mass = np.multiply.outer(mass, pmf).ravel()
    order = np.argsort(sums, kind="stable")
    sums, mass = sums[order], mass[order]
    starts = np.flatnonzero(np.diff(sums, prepend=-np.inf) > _TIE * (1.0 + np.abs(sums)))
    points, atoms = sums[starts], np.add.reduceat(mass, starts)
    return SumLaw(points, np.minimum(np.cumsum(atoms[::-1])[::-1], 1.0), exact=True)


def gamma_log_sf(shape: int, x: float) -> float:
    """Return ln P[Gamma(shape, 1) >= x] for an integer shape: the chi-square bound on Fisher's statistic."""
    if x <= 0.0:
        return 0.0
    j = np.arange(shape)
    return min(0.0, float(-x + special.logsumexp(j * math.log(x) - special.gammaln(j + 1.0))))


def far_log_tail(costs: Sequence[FloatArray], pmfs: Sequence[FloatArray], x: float) -> float:
    """Return ln P[S >= x], or slightly more, for a sum of non-negative costs far in its tail.

    Costs are rounded up to a grid on [0, x], and all mass beyond x is moved to x. Each distribution is tilted by
    exp(theta * cost), which moves the mass near x and so makes the transform's absolute error a small relative
    error.
    """
    steps = 1 << (15 if len(costs) <= 8 else 14)
    step = x * (1.0 - 1e-12) / steps
    theta = _tilt(costs, pmfs, x)
    decay = np.exp(-theta * step * np.arange(steps + 1))
    total, log_scale = np.zeros(steps + 1), 0.0
    total[0] = 1.0
    for cost, pmf in zip(costs, pmfs, strict=True):
        index = np.minimum(np.ceil(cost / step - 1e-9), steps).astype(np.int64)
        tilted = pmf * np.exp(theta * np.minimum(index * step, x))
        part = np.bincount(index, weights=tilted, minlength=steps + 1)
        size = 4 * steps
        product = np.fft.irfft(np.fft.rfft(total, size) * np.fft.rfft(part, size), size)[: 2 * steps + 1]
        product = np.maximum(product, 0.0)
        total = product[: steps + 1].copy()
        total[steps] = float(np.dot(product[steps:], decay))
        norm = float(total.sum())
        total /= norm
        log_scale += math.log(norm)
    return math.log(total[steps]) + log_scale - theta * step * steps


def _tilt(costs: Sequence[FloatArray], pmfs: Sequence[FloatArray], x: float) -> float:
    """Return the theta in [0, 1] at which the tilted sum has mean x; 1 if the mean stays below x throughout."""
    low, high = 0.0, 1.0
    for _ in range(30):
        theta = 0.5 * (low + high)
        mean = 0.0
        for cost, pmf in zip(costs, pmfs, strict=True):
            weight = pmf * np.exp(theta * np.minimum(cost, x))
            mean += float(np.dot(weight, np.minimum(cost, x)) / weight.sum())
        low, high = (theta, high) if mean < x else (low, theta)
    return low
