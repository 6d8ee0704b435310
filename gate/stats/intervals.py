"""Intervals of a paired drop and of a flip rate, and tests of a drop at a margin."""

from typing import NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats import _binomial, _validate
from gate.stats._validate import Counts, FloatArray

Counts64: TypeAlias = NDArray[np.int64]

_BISECTIONS = 64


class Interval(NamedTuple):
    """A confidence interval of one proportion or difference of proportions."""

    low: float
    high: float


class Intervals(NamedTuple):
    """Confidence intervals, one per task."""

    low: FloatArray
    high: FloatArray


def score_parts(b: Counts64, c: Counts64, n: Counts64, drop: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Numerator of Tango's score statistic, b - c - n drop, and its variance at that drop, elementwise."""
    b_, c_, n_ = b.astype(np.float64), c.astype(np.float64), n.astype(np.float64)
    # The constrained maximum-likelihood estimate of the improvement rate solves 2n q^2 + B q + C = 0.
    linear = -b_ - c_ + (2.0 * n_ - b_ + c_) * drop
    constant = -c_ * drop * (1.0 - drop)
    root = np.sqrt(np.maximum(linear * linear - 8.0 * n_ * constant, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(linear > 0.0, -2.0 * constant / (linear + root), (root - linear) / (4.0 * n_))
    return b_ - c_ - n_ * drop, n_ * np.maximum(2.0 * rate + drop * (1.0 - drop), 0.0)


def score_z(b: Counts64, c: Counts64, n: Counts64, drop: FloatArray) -> FloatArray:
    """Tango's score statistic at a hypothesised drop, elementwise; falls as `drop` rises."""
    distance, variance = score_parts(b, c, n, drop)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0.0, 0.0, distance / np.sqrt(variance))


@overload
def tango_interval(b: int, c: int, n: int, confidence: float = 0.9) -> Interval: ...
@overload
def tango_interval(b: Counts, c: Counts, n: int | Counts, confidence: float = 0.9) -> Intervals: ...
def tango_interval(
    b: int | Counts, c: int | Counts, n: int | Counts, confidence: float = 0.9
) -> Interval | Intervals:
    """Tango's score interval of the paired drop in accuracy.

    Parameters
    ----------
    b, c : int or integer array
        Regressions and improvements.
    n : int or integer array
        Paired items, n >= b + c.
    confidence : float, default 0.9
        Two-sided coverage. 0.9 gives the two one-sided 95 % bounds of the verdict.

    Returns
    -------
    Interval or Intervals
        Named tuple (low, high) of the drop (b - c) / n as a proportion, positive where the candidate is
        worse.

    Raises
    ------
    ValueError
        Where a count is not a non-negative whole number, b + c > n, or `confidence` is not in (0, 1).

    Notes
    -----
    The drops d with |Z(d)| <= z, where Z(d) = (b - c - n d) / sqrt(n (2 q + d (1 - d))) and q is the
    maximum-likelihood improvement rate under drop d. Asymptotic, with coverage near nominal from small n on,
    also at b + c = 0.

    References
    ----------
    Tango (1998), Statistics in Medicine 17, 891-908.

    Examples
    --------
    >>> from gate.stats import tango_interval
    >>> low, high = tango_interval(40, 20, 160, 0.95)
    >>> print(f"{low:.4f} {high:.4f}")
    0.0309 0.2181
    """
    regressions, improvements, total = _validate.triple(b, c, n)
    _validate.open_unit("confidence", confidence)
    limit = float(special.ndtri(0.5 + 0.5 * confidence))
    drop = (regressions - improvements) / total
    # Z falls from +inf to -inf over (-1, 1): bisect on either side of the observed drop.
    low = _bisect(regressions, improvements, total, -np.ones_like(drop), drop, limit)
    high = _bisect(regressions, improvements, total, drop, np.ones_like(drop), -limit)
    if drop.ndim == 0:
        return Interval(float(low), float(high))
    return Intervals(low, high)


def _bisect(
    b: Counts64, c: Counts64, n: Counts64, low: FloatArray, high: FloatArray, target: float
) -> FloatArray:
    """The drop between `low` and `high` where the falling score crosses `target`, elementwise."""
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        above = score_z(b, c, n, middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return 0.5 * (low + high)


@overload
def noninferiority(b: int, c: int, n: int, margin: float) -> float: ...
@overload
def noninferiority(b: Counts, c: Counts, n: int | Counts, margin: float) -> FloatArray: ...
def noninferiority(b: int | Counts, c: int | Counts, n: int | Counts, margin: float) -> float | FloatArray:
    """Score test of "the drop is at least `margin`": a small p-value certifies a smaller drop.

    Parameters
    ----------
    b, c : int or integer array
        Regressions and improvements.
    n : int or integer array
        Paired items.
    margin : float
        The drop to exclude, as a proportion, 0 < margin < 1.

    Returns
    -------
    float or ndarray of float
        p = Phi(Z(margin)), Tango's score statistic at the margin.

    Raises
    ------
    ValueError
        Where a count is not a non-negative whole number, b + c > n, or `margin` is not in (0, 1).

    Notes
    -----
    Asymptotic; inverted, it gives the upper bound of `tango_interval`. Reject where p <= alpha to certify
    with confidence 1 - alpha that the drop is below the margin.

    References
    ----------
    Tango (1998), Statistics in Medicine 17, 891-908.

    Examples
    --------
    >>> from gate.stats import noninferiority
    >>> f"{noninferiority(163, 168, 25282, 0.01):.2g}"
    '3.4e-33'
    """
    regressions, improvements, total = _validate.triple(b, c, n)
    _validate.open_unit("margin", margin)
    p = special.ndtr(score_z(regressions, improvements, total, np.asarray(margin)))
    return float(p) if np.ndim(p) == 0 else p


@overload
def margin_test(b: int, c: int, n: int, margin: float) -> float: ...
@overload
def margin_test(b: Counts, c: Counts, n: int | Counts, margin: float) -> FloatArray: ...
def margin_test(b: int | Counts, c: int | Counts, n: int | Counts, margin: float) -> float | FloatArray:
    """One-sided test of "the drop is at most `margin`": a small p-value says the candidate is worse by more.

    Parameters
    ----------
    b, c : int or integer array
        Regressions and improvements.
    n : int or integer array
        Paired items.
    margin : float
        Tolerated drop, as a proportion, 0 <= margin < 1. At 0 this is `mcnemar_exact`.

    Returns
    -------
    float or ndarray of float
        max(1 - Phi(Z(margin)), exact McNemar p), with Z Tango's score statistic.

    Raises
    ------
    ValueError
        Where a count is not a non-negative whole number, b + c > n, or `margin` is not in [0, 1).

    Notes
    -----
    The score test is asymptotic and far too bold where the margin allows only a few items: 3 regressions of
    100 at a margin of one point give Z = 2.01 although Poisson(1) reaches 3 in 8 % of runs. A drop cannot be
    shown to exceed the margin where it cannot be shown to exceed 0, so the exact p-value at 0 bounds the
    p-value from below; it binds only at small counts.

    References
    ----------
    Tango (1998), Statistics in Medicine 17, 891-908.

    Examples
    --------
    >>> from gate.stats import margin_test
    >>> print(f"{margin_test(68, 18, 1000, 0.02):.4f} {margin_test(3, 0, 100, 0.01):.3f}")
    0.0004 0.125
    """
    regressions, improvements, total = _validate.triple(b, c, n)
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"margin: expected a proportion of at least 0 and below 1, found {margin}")
    p = _binomial.sf(regressions, regressions + improvements)
    if margin > 0.0:
        p = np.maximum(p, special.ndtr(-score_z(regressions, improvements, total, np.asarray(margin))))
    return float(p) if np.ndim(p) == 0 else p


@overload
def flip_rate_interval(flips: int, n: int, confidence: float = 0.95) -> Interval: ...
@overload
def flip_rate_interval(flips: Counts, n: int | Counts, confidence: float = 0.95) -> Intervals: ...
def flip_rate_interval(
    flips: int | Counts, n: int | Counts, confidence: float = 0.95
) -> Interval | Intervals:
    """Clopper-Pearson (exact) interval of a flip rate.

    Parameters
    ----------
    flips : int or integer array
        Items whose answer changed.
    n : int or integer array
        Paired items, n >= flips.
    confidence : float, default 0.95
        Two-sided coverage, guaranteed from below.

    Returns
    -------
    Interval or Intervals
        Named tuple (low, high), proportions.

    Raises
    ------
    ValueError
        Where a count is not a non-negative whole number, flips > n, or `confidence` is not in (0, 1).

    Notes
    -----
    Quantiles of Beta(flips, n - flips + 1) and Beta(flips + 1, n - flips); conservative for every n.

    References
    ----------
    Clopper, Pearson (1934), Biometrika 26, 404-413.

    Examples
    --------
    >>> from gate.stats import flip_rate_interval
    >>> low, high = flip_rate_interval(0, 100)
    >>> print(f"{low} {high:.4f}")
    0.0 0.0362
    """
    count, _, total = _validate.triple(flips, np.zeros_like(np.asarray(flips)), n)
    _validate.open_unit("confidence", confidence)
    tail = 0.5 - 0.5 * confidence
    x, size = count.astype(np.float64), total.astype(np.float64)
    low = np.where(x == 0, 0.0, special.betaincinv(np.maximum(x, 1.0), size - x + 1.0, tail))
    high = np.where(x == size, 1.0, special.betaincinv(x + 1.0, np.maximum(size - x, 1.0), 1.0 - tail))
    if low.ndim == 0:
        return Interval(float(low), float(high))
    return Intervals(low, high)
