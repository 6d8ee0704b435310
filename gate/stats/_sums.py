"""Upper tails of a sum of independent discrete variables, exact up to rounding that only enlarges them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from gate.stats._validate import FloatArray

_FFT_ERROR = 1e-15  # added to every tail taken from a Fourier transform
FAR = 1e-9
"""Tails below this leave the plain transform."""

ENUMERATE = 1_000_000
"""Up to so many joint outcomes are enumerated."""

_TIE = 1e-10


@dataclass(frozen=True, eq=False, slots=True)
class SumLaw:
    """P[S >= x] as a step function: `tail[i]` holds from just above `points[i - 1]` to `points[i]`.

    `exact` says that the points are the values S can take; otherwise they are a grid that rounds up.
    """

    points: FloatArray
    tail: FloatArray
    exact: bool

    def sf(self, x: FloatArray | float) -> FloatArray:
        """P[S >= x] or a little more."""
        at = np.searchsorted(self.points, x - _TIE * (1.0 + np.abs(x)), side="left")
        return np.where(at < self.points.size, self.tail[np.minimum(at, self.points.size - 1)], 0.0)

    def critical(self, level: float) -> float:
        """The bound from which on P[S >= x] <= level; inf where nothing is that rare."""
        at = int(np.searchsorted(-self.tail, -level, side="left"))
        if at == self.tail.size:
            return math.inf if self.exact else float(self.points[-1])
        if at == 0:
            return -math.inf
        below = float(self.points[at - 1])
        return 0.5 * (below + float(self.points[at])) if self.exact else below


def sum_law(
    values: Sequence[FloatArray], pmfs: Sequence[FloatArray], low: float, high: float, coarse: bool = False
) -> SumLaw:
    """The law of the sum of independent variables, for tails above about 1e-9.

    Few outcomes are enumerated. Otherwise each value is rounded up to a grid over [low, high), outside of
    which the sum may have no more than about 1e-17 of its mass, and the variables are convolved on that ring
    by Fourier transform. `coarse` takes a quarter of the grid and enumerates less: for planning, where a
    third digit is not worth the time.
    """
    outcomes = math.prod(v.size for v in values)
    if outcomes <= (ENUMERATE // 50 if coarse else ENUMERATE):
        return _enumerated(values, pmfs)
    tasks = len(values)
    size = 1 << ((17 if tasks <= 8 else 18 if tasks <= 24 else 19) - (2 if coarse else 0))
    step = (high - low) / size
    product = np.ones(size // 2 + 1, dtype=np.complex128)
    for value, pmf in zip(values, pmfs, strict=True):
        kept = pmf > 1e-40
        ring = np.ceil(value[kept] / step - 1e-9).astype(np.int64) % size
        product *= np.fft.rfft(np.bincount(ring, weights=pmf[kept], minlength=size))
    mass = np.fft.irfft(product, size)
    first = math.floor(low / step)
    mass = np.roll(mass, -(first % size))
    tail = np.cumsum(np.maximum(mass, 0.0)[::-1])[::-1] + _FFT_ERROR
    # Rounding up makes {true sum >= x} a part of {rounded sum >= the first grid point from x on}.
    return SumLaw(step * (first + np.arange(size, dtype=np.float64)), np.minimum(tail, 1.0), exact=False)


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
    """Ln P[Gamma(shape, 1) >= x] for a whole shape: the chi-square bound on Fisher's statistic."""
    if x <= 0.0:
        return 0.0
    j = np.arange(shape)
    return min(0.0, float(-x + special.logsumexp(j * math.log(x) - special.gammaln(j + 1.0))))


def far_log_tail(costs: Sequence[FloatArray], pmfs: Sequence[FloatArray], x: float) -> float:
    """Ln P[S >= x], or a little more, for a sum of non-negative costs far in its tail.

    Costs are rounded up to a grid on [0, x] and everything beyond x is lumped at x. Each distribution is
    tilted by exp(theta * cost), which brings the mass near x, so that the transform's absolute error is a
    small relative one.
    """
    steps = 1 << (15 if len(costs) <= 8 else 14)
    step = x * (1.0 - 1e-12) / steps
    theta = _tilt(costs, pmfs, x)
    decay = np.exp(-theta * step * np.arange(steps + 1))
    total, log_scale = np.zeros(steps + 1), 0.0
    total[0] = 1.0
    for cost, pmf in zip(costs, pmfs, strict=True):
        at = np.minimum(np.ceil(cost / step - 1e-9), steps).astype(np.int64)
        part = np.bincount(at, weights=pmf * np.exp(theta * np.minimum(at * step, x)), minlength=steps + 1)
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
    """The theta in [0, 1] under which the tilted sum has mean x, or 1."""
    low, high = 0.0, 1.0
    for _ in range(30):
        theta = 0.5 * (low + high)
        mean = 0.0
        for cost, pmf in zip(costs, pmfs, strict=True):
            weight = pmf * np.exp(theta * np.minimum(cost, x))
            mean += float(np.dot(weight, np.minimum(cost, x)) / weight.sum())
        low, high = (theta, high) if mean < x else (low, theta)
    return low
