"""Recovery: the candidate's mean score divided by the baseline's, with an interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats import _validate
from gate.stats._validate import FloatArray
from gate.stats.results import ConfidenceInterval


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """Result of `recovery`.

    Attributes
    ----------
    ratio : float
        Candidate mean / baseline mean.
    ci : ConfidenceInterval
        Fieller's interval of the ratio of the true means; (-inf, inf) where the data do not bound it.
    """

    ratio: float
    ci: ConfidenceInterval[float]


def recovery(
    baseline: Sequence[float] | FloatArray,
    candidate: Sequence[float] | FloatArray,
    clusters: Sequence[str] | Sequence[int] | NDArray[np.int64] | NDArray[np.str_] | None = None,
    *,
    confidence_level: float = 0.9,
) -> RecoveryResult:
    """Return the ratio of two paired means and its interval.

    Parameters
    ----------
    baseline, candidate : array of float, shape (items,)
        Scores of the same items. The mean of `baseline` must be above 0.
    clusters : array of int or str, shape (items,), optional
        Cluster of each item. By default every item is its own cluster.
    confidence_level : float, default 0.9
        Two-sided level, in (0, 1).

    Raises
    ------
    ValueError
        The shapes differ, a score is not finite, or the mean of `baseline` is not above 0.

    Notes
    -----
    Fieller (1954), paired: the interval holds every ratio r for which the mean of (candidate - r baseline) is not
    significantly different from 0 by Student's t over the clusters. Where the baseline's mean is itself not
    significantly different from 0, this set is unbounded, and the interval is (-inf, inf).

    One regression and one improvement of the size of the largest score are added to the data of the interval, as
    Agresti and Min (2005) do for the difference of paired proportions. Without them, a run without flips would give
    an interval of width 0. The interval is an approximation for large samples; `benchmarks/recovery.py` measures its
    coverage.

    References
    ----------
    Fieller (1954), Journal of the Royal Statistical Society B 16, 175-185. Agresti, Min (2005), Statistics in
    Medicine 24, 729-740.

    Examples
    --------
    >>> from gate.stats import recovery
    >>> right = [1.0] * 80 + [0.0] * 20
    >>> result = recovery(right, [0.0] * 6 + right[6:98] + [1.0] * 2)
    >>> print(f"{result.ratio:.3f} {result.ci.low:.3f} {result.ci.high:.3f}")
    0.950 0.888 1.016
    """
    x, y = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"candidate: expected one score per item, as in baseline {x.shape}, found shape {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("scores: expected finite numbers")
    _validate.open_unit("confidence_level", confidence_level)
    mean = float(x.mean()) if x.size else math.nan
    if not mean > 0.0:
        raise ValueError(f"baseline: expected a mean score above 0, found {mean:g}")
    ratio = float(y.mean()) / mean
    largest = max(float(np.abs(x).max()), float(np.abs(y).max()))
    if clusters is not None:
        _, units = np.unique(np.asarray(clusters), return_inverse=True)
        if units.shape != x.shape:
            raise ValueError(f"clusters: expected one per item ({x.size}), found an array of shape {units.shape}")
        x, y = (np.bincount(units, scores).astype(np.float64) for scores in (x, y))
    x, y = np.append(x, [largest, 0.0]), np.append(y, [0.0, largest])
    return RecoveryResult(ratio, _fieller(x / largest, y / largest, confidence_level))


def _fieller(x: FloatArray, y: FloatArray, confidence_level: float) -> ConfidenceInterval[float]:
    """Return the interval of all r with mean(y - r x)**2 <= t**2 var(y - r x) / units; the whole line if unbounded."""
    units = x.size
    t = float(special.stdtrit(units - 1, 0.5 + confidence_level / 2))
    (v_x, cov), (_, v_y) = np.cov(x, y) * t * t / units
    mean_x, mean_y = float(x.mean()), float(y.mean())
    a, b, c = mean_x**2 - v_x, mean_x * mean_y - cov, mean_y**2 - v_y  # a r**2 - 2 b r + c <= 0
    if a > 0.0:
        root = math.sqrt(max(0.0, b * b - a * c))
        return ConfidenceInterval((b - root) / a, (b + root) / a)
    return ConfidenceInterval(-math.inf, math.inf)
