"""Large-sample methods for independent units: items with scores of any kind, or clusters of items."""

import numpy as np

from gate.stats import _score, _validate
from gate.stats._validate import FloatArray
from gate.stats.evidence import Evidence
from gate.stats.results import ConfidenceInterval


def unit_interval(
    evidence: Evidence, confidence_level: float = 0.9, *, margin: float = 0.0, upper_only: bool = False
) -> ConfidenceInterval[float]:
    """Interval of the mean drop of a task with scores that are not binary, or with clustered items.

    Parameters
    ----------
    evidence : Evidence
        From `Evidence.from_differences`; `span` is the largest difference that an item can have.
    confidence_level : float, default 0.9
        Two-sided coverage, an approximation for large samples. For simultaneous bounds over K tasks use
        1 - 2 alpha / K.
    margin : float, default 0
        A drop at which interval and test are compared directly, in the score's own units.
    upper_only : bool, default False
        Leave out the lower bound (it is -span), which saves half of the time.

    Returns
    -------
    ConfidenceInterval
        Bounds of the mean drop per item, in the score's own units, at most `span` away from 0. With a single unit
        nothing is known about the variance: the interval is -span to span.

    Notes
    -----
    The interval inverts two score tests. With D the summed difference of a unit of w items and u = D - w d, a drop d is
    compared with the data by t = sum(u) / sqrt(sum(u**2)), which has Student's distribution with the effective number
    of units, (sum(u**2))**2 / sum(u**4), as degrees of freedom. Two precautions are taken for few or unequal units:

    * One further unit of the size of the largest is counted as wholly lost for the upper bound, and as wholly gained
      for the lower one: large differences may be too rare to be seen. A small level also corrects for skewness.
    * Few changed units do not show their variance. The degrees of freedom are then few, and the bounds wide. They are
      narrower with a variance of at least sum(w**2) |d| (1 - |d|), that of units which are lost as a whole, where d is
      above 0 for the upper bound and below 0 for the lower one (in units of `span`); the narrower one is given.

    At drop 0 the sign-flip test decides: the lower bound is at least 0 where its p-value is at most the one-sided
    level, and at most 0 where it is not. The same comparison is made at `margin` (`Evidence.pvalue_at`).

    Examples
    --------
    >>> from gate.stats import Evidence, unit_interval
    >>> scores = Evidence.from_differences([0.5, 0.25, -0.25, 1.0, 0.75] + [0.0] * 95, span=1.0, rng=0)
    >>> low, high = unit_interval(scores)
    >>> print(f"{low:.3f} {high:.3f}")
    -0.029 0.070
    """
    _validate.open_unit("confidence_level", confidence_level)
    differences, items = evidence.unit_sums
    span = evidence.span
    if span == 0.0:
        return ConfidenceInterval(0.0, 0.0)
    if items.size < 2:
        return ConfidenceInterval(-span, span)
    level = 0.5 - 0.5 * confidence_level
    low, high = _score.interval(differences, items, level, upper_only)
    low, high = low * span, high * span
    if not upper_only:
        for drop in {0.0, margin}:
            low = max(low, drop) if evidence.pvalue_at(drop) <= level else min(low, drop)
    return ConfidenceInterval(low, max(low, high))


def effective_number(items: FloatArray) -> float:
    """Return how many equal units have squared sizes that vary as much as those of units with these items.

    (sum(w**2))**2 / sum(w**4): the number of units where all are alike, and near 1 where one has most of the items.

    Examples
    --------
    >>> import numpy as np
    >>> from gate.stats import effective_number
    >>> effective_number(np.ones(100)), round(effective_number(np.r_[np.full(5, 100), np.full(100, 5)]), 1)
    (100.0, 5.5)
    """
    squares = np.asarray(items, dtype=np.float64) ** 2
    return float(squares.sum() ** 2 / np.dot(squares, squares))


def unit_noninferiority(differences: FloatArray, items: FloatArray, bound: float) -> float:
    """Return the p-value of H0 "the mean drop per item is at least `bound`", for scores from 0 to 1.

    Parameters
    ----------
    differences : array of float, shape (units,)
        Summed differences of the items of each unit.
    items : array of float, shape (units,)
        Number of items of each unit.
    bound : float
        The drop to rule out, a proportion, 0 < bound < 1.

    Notes
    -----
    The test that gives the upper bound of `unit_interval`.

    Examples
    --------
    >>> import numpy as np
    >>> from gate.stats import unit_noninferiority
    >>> f"{unit_noninferiority(np.zeros(300), np.ones(300), 0.02):.4f}"
    '0.0379'
    """
    _validate.open_unit("bound", bound)
    away, conceded = differences - items * bound, float(items.max()) * (1.0 - bound)
    squares = np.append(away, conceded) ** 2
    floor = float(np.dot(items, items)) * bound * (1.0 - bound)
    parts = -away.sum(), squares.sum(), np.dot(squares, squares), conceded, floor
    return float(_score.proof_tail(*map(np.asarray, parts)))
