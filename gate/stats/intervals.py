"""Confidence intervals of a paired drop and of a flip rate."""

from typing import overload

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats import _binomial, _tango, _unconditional, _validate
from gate.stats._validate import Counts, FloatArray
from gate.stats.results import ConfidenceInterval, unwrap

_FEW_CLUSTERS = 10  # that flipped: too few to estimate how their items flip together


@overload
def tango_interval(b: int, c: int, n: int, confidence_level: float = 0.9) -> ConfidenceInterval[float]: ...
@overload
def tango_interval(
    b: Counts, c: Counts, n: int | Counts, confidence_level: float = 0.9
) -> ConfidenceInterval[FloatArray]: ...
def tango_interval(
    b: int | Counts, c: int | Counts, n: int | Counts, confidence_level: float = 0.9
) -> ConfidenceInterval[float] | ConfidenceInterval[FloatArray]:
    """Tango's score interval of the paired drop in accuracy.

    Parameters
    ----------
    b, c, n : int or integer array
        Regressions, improvements and paired items, b + c <= n.
    confidence_level : float, default 0.9
        Two-sided coverage. 0.9 gives the two one-sided 95 % bounds of the verdict.

    Returns
    -------
    ConfidenceInterval
        Bounds of the drop (b - c) / n as a proportion, positive where the candidate is worse.

    Notes
    -----
    The interval holds the drops d with |Z(d)| <= z, where Z(d) = (b - c - n d) / sqrt(n (2 q + d (1 - d))) and
    q is the maximum-likelihood improvement rate at drop d. It is asymptotic: the tests and the reports use
    `drop_interval`.

    References
    ----------
    Tango (1998), Statistics in Medicine 17, 891-908.

    Examples
    --------
    >>> from gate.stats import tango_interval
    >>> low, high = tango_interval(40, 20, 160, confidence_level=0.95)
    >>> print(f"{low:.4f} {high:.4f}")
    0.0309 0.2181
    """
    counts = _validate.triple(b, c, n)
    _validate.open_unit("confidence_level", confidence_level)
    low, high = _tango.interval(*counts, confidence_level)
    return ConfidenceInterval(unwrap(low), unwrap(high))


@overload
def drop_interval(
    b: int, c: int, n: int, confidence_level: float = 0.9, *, margin: float = 0.0, upper_only: bool = False
) -> ConfidenceInterval[float]: ...
@overload
def drop_interval(
    b: Counts,
    c: Counts,
    n: int | Counts,
    confidence_level: float = 0.9,
    *,
    margin: float = 0.0,
    upper_only: bool = False,
) -> ConfidenceInterval[FloatArray]: ...
def drop_interval(
    b: int | Counts,
    c: int | Counts,
    n: int | Counts,
    confidence_level: float = 0.9,
    *,
    margin: float = 0.0,
    upper_only: bool = False,
) -> ConfidenceInterval[float] | ConfidenceInterval[FloatArray]:
    """Exact interval of the paired drop in accuracy: it inverts `margin_test` and `noninferiority`.

    Parameters
    ----------
    b, c, n : int or integer array
        Regressions, improvements and paired items, b + c <= n.
    confidence_level : float, default 0.9
        Two-sided coverage, 1 - 2 alpha for two one-sided bounds of level alpha; the true coverage is never lower. For
        simultaneous bounds over K tasks use 1 - 2 alpha / K.
    margin : float, default 0
        A drop at which interval and tests are compared directly, a proportion, 0 <= margin < 1.
    upper_only : bool, default False
        Leave out the lower bound (it is -1), which saves half of the time.

    Returns
    -------
    ConfidenceInterval
        Bounds of the drop (b - c) / n as a proportion, positive where the candidate is worse.

    Notes
    -----
    The lower bound is the drop at which `margin_test` has a p-value of alpha, the upper bound that at which
    `noninferiority` has it. The bounds are found to a thousandth of a standard error and rounded outwards. At drop 0
    the exact McNemar test decides: the lower bound is at least 0 where its p-value is at most alpha, and at most 0
    where it is not. The same comparison is made at `margin`, so that interval and test never disagree there.

    References
    ----------
    Berger, Boos (1994), JASA 89, 1012-1016. Tango (1998), Statistics in Medicine 17, 891-908.

    Examples
    --------
    >>> from gate.stats import drop_interval
    >>> low, high = drop_interval(40, 20, 160, confidence_level=0.95)
    >>> print(f"{low:.3f} {high:.3f}")
    0.030 0.219
    """
    counts = _validate.triple(b, c, n)
    _validate.open_unit("confidence_level", confidence_level)
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"margin: expected a proportion of at least 0 and below 1, found {margin}")
    low, high = _unconditional.intervals(*counts, 0.5 - 0.5 * confidence_level, margin, upper_only)
    return ConfidenceInterval(unwrap(low), unwrap(high))


@overload
def flip_rate_interval(flips: int, n: int, confidence_level: float = 0.95) -> ConfidenceInterval[float]: ...
@overload
def flip_rate_interval(
    flips: Counts, n: int | Counts, confidence_level: float = 0.95
) -> ConfidenceInterval[FloatArray]: ...
def flip_rate_interval(
    flips: int | Counts, n: int | Counts, confidence_level: float = 0.95
) -> ConfidenceInterval[float] | ConfidenceInterval[FloatArray]:
    """Clopper-Pearson (exact) interval of a flip rate.

    Parameters
    ----------
    flips, n : int or integer array
        Items whose correctness changed, and paired items, flips <= n.
    confidence_level : float, default 0.95
        Two-sided coverage; the true coverage is never lower.

    Returns
    -------
    ConfidenceInterval
        Bounds of the flip rate, proportions.

    Notes
    -----
    The bounds are quantiles of Beta(flips, n - flips + 1) and Beta(flips + 1, n - flips). The interval is
    conservative at every n.

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
    _validate.open_unit("confidence_level", confidence_level)
    low, high = _binomial.clopper_pearson(count, total, confidence_level)
    return ConfidenceInterval(unwrap(low), unwrap(high))


def clustered_flip_rate_interval(
    flipped: NDArray[np.bool_], clusters: NDArray[np.int64], confidence_level: float = 0.95
) -> ConfidenceInterval[float]:
    """Interval of a flip rate where items of one cluster may flip together.

    Parameters
    ----------
    flipped : bool array, shape (items,)
        Whether the score of an item changed.
    clusters : int array, shape (items,)
        Cluster of each item.
    confidence_level : float, default 0.95
        Two-sided coverage, an approximation.

    Returns
    -------
    ConfidenceInterval
        Bounds of the flip rate, proportions.

    Notes
    -----
    The Clopper-Pearson interval at the effective number of items: n over the design effect of the clusters, at most n.
    With fewer than ten clusters that flipped, it is n**2 / sum(size**2), as if clusters flipped as a whole.

    References
    ----------
    Korn, Graubard (1998), Survey Methodology 24, 193-201.

    Examples
    --------
    Of ten questions, each asked ten times, two changed their answer every time.

    >>> import numpy as np
    >>> from gate.stats import clustered_flip_rate_interval, flip_rate_interval
    >>> low, high = clustered_flip_rate_interval(np.arange(100) < 20, np.arange(100) // 10)
    >>> exact = flip_rate_interval(2, 10)
    >>> print(f"{low:.3f} {high:.3f}, {exact.low:.3f} {exact.high:.3f}")
    0.025 0.556, 0.025 0.556
    """
    _validate.open_unit("confidence_level", confidence_level)
    groups = np.unique(clusters, return_inverse=True)[1]
    sizes, flips = np.bincount(groups), np.bincount(groups, flipped)
    n, number = float(sizes.sum()), sizes.size
    rate = float(flips.sum()) / n
    away = flips - rate * sizes
    squares = float(np.dot(away, away)) * number / max(1, number - 1)
    if np.count_nonzero(flips) < _FEW_CLUSTERS or squares == 0.0:
        effective = n * n / float(np.dot(sizes, sizes))
    else:
        effective = min(n, rate * (1.0 - rate) * n * n / squares)
    tail, hits = 0.5 * (1.0 - confidence_level), rate * effective
    low = 0.0 if rate == 0.0 else float(special.betaincinv(hits, effective - hits + 1.0, tail))
    high = 1.0 if rate == 1.0 else float(special.betaincinv(hits + 1.0, effective - hits, 1.0 - tail))
    return ConfidenceInterval(low, high)
