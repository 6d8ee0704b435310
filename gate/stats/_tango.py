"""Tango's (1998) score statistic of a paired drop, and the interval that inverts it."""

import numpy as np
from scipy import special

from gate.stats._validate import FloatArray, IntArray

_BISECTIONS = 64


def score_parts(b: IntArray, c: IntArray, n: IntArray, drop: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the numerator b - c - n drop of the score statistic and its variance at that drop, elementwise."""
    b_, c_, n_ = b.astype(np.float64), c.astype(np.float64), n.astype(np.float64)
    # The constrained maximum-likelihood estimate q of the improvement rate solves 2n q^2 + B q + C = 0.
    linear = -b_ - c_ + (2.0 * n_ - b_ + c_) * drop
    constant = -c_ * drop * (1.0 - drop)
    root = np.sqrt(np.maximum(linear * linear - 8.0 * n_ * constant, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(linear > 0.0, -2.0 * constant / (linear + root), (root - linear) / (4.0 * n_))
    return b_ - c_ - n_ * drop, n_ * np.maximum(2.0 * rate + drop * (1.0 - drop), 0.0)


def score_z(b: IntArray, c: IntArray, n: IntArray, drop: FloatArray) -> FloatArray:
    """Return the score statistic at a hypothesised drop, elementwise; it falls as `drop` rises."""
    distance, variance = score_parts(b, c, n, drop)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0.0, 0.0, distance / np.sqrt(variance))


def interval(b: IntArray, c: IntArray, n: IntArray, confidence_level: float) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of the two-sided score interval of the drop, elementwise."""
    limit = float(special.ndtri(0.5 + 0.5 * confidence_level))
    drop = (b - c) / n
    # Z falls from +inf to -inf over (-1, 1): bisect on either side of the observed drop.
    low = lower_bound(b, c, n, limit)
    high = _bisect(b, c, n, drop, np.ones_like(drop), -limit, _BISECTIONS)
    return low, high


def lower_bound(b: IntArray, c: IntArray, n: IntArray, limit: float, steps: int = _BISECTIONS) -> FloatArray:
    """Return the drop below the observed one at which the score is `limit`, elementwise."""
    drop = (b - c) / n
    return _bisect(b, c, n, -np.ones_like(drop), drop, limit, steps)


def _bisect(
    b: IntArray, c: IntArray, n: IntArray, low: FloatArray, high: FloatArray, target: float, steps: int
) -> FloatArray:
    """Return the drop between `low` and `high` at which the score crosses `target`, elementwise."""
    for _ in range(steps):
        middle = 0.5 * (low + high)
        above = score_z(b, c, n, middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return 0.5 * (low + high)
