"""Large-sample score test of a mean difference over independent units (items or clusters), and its interval."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats._validate import FloatArray

_GRID = np.linspace(0.0, 1.0, 129) ** 3
_BISECTIONS = 50


@dataclass(frozen=True, slots=True)
class Score:
    """The sums of a score test: u = D - w d over units of w items with summed difference D, at a drop d.

    distance, variance, fourth : sums of u, u**2 and u**4
    conceded : size of u of the largest unit that could be added
    """

    distance: float
    variance: float
    fourth: float
    conceded: float = 0.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.distance + other.distance,
            self.variance + other.variance,
            self.fourth + other.fourth,
            max(self.conceded, other.conceded),
        )

    @property
    def upper_pvalue(self) -> float:
        """P-value of "the mean difference is at most d": at least one further unit counts as the largest gain."""
        scale = max(self.conceded, math.sqrt(self.variance))
        if scale == 0.0:
            return 0.5
        own, unit = self.conceded / scale, 1.0 / scale
        variance = self.variance * unit * unit + own**2
        fourth = self.fourth * unit * unit * unit * unit + own**4
        distance = np.array(self.distance * unit)
        return float(tail(distance, np.array(variance), np.array(fourth), np.array(own)))


def tail(
    distance: FloatArray,
    variance: FloatArray,
    fourth: FloatArray,
    conceded: FloatArray,
    floor: FloatArray | float = 0.0,
) -> FloatArray:
    """Return the p-value of a distance, elementwise, by Student's t with the effective number of units.

    That number is variance**2 / (sum of the fourth powers): that of equal units whose squares vary as much. It is the
    number of units where all are alike, and near 1 where a single unit has most of the variance. The variance, and the
    sum of the fourth powers, include a unit of size `conceded`; the variance is at least `floor`.

    Notes
    -----
    One unit of size `conceded` is subtracted from the distance. Where p is below .14, z**2 / 3 - 0.4 units of size M
    are subtracted as well, with M**2 = (sum of the fourth powers) / variance and z the normal quantile of p. By the
    Edgeworth expansion of Student's statistic (Hall 1987, Ann. Probab. 15, 920-931), skewness moves the quantile of the
    sum by (2 z**2 + 1) / 6 times sum(u**3) / sum(u**2), which is at most M. 0.43 units more than this keep the sizes
    below the level where the sum moves in steps. This is a quadratic equation for t, with z / t taken from the p-value
    without the second part. Far in the tail, ln p is that of Bernstein's inequality.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.sqrt(fourth / variance)
        variance = np.maximum(variance, floor)
        effective = np.clip(np.nan_to_num(variance * variance / fourth, nan=1.0), 1.0, 1e15)
        deviation = np.sqrt(variance)
        t = np.where(variance > 0.0, (distance - conceded) / deviation, 0.0)
        p = special.stdtr(effective, -t)
        share = np.where((t > 0.0) & (p > 0.0), np.maximum(-special.ndtri(p) / t, 0.0), 1.0)
        beyond = np.maximum(distance - conceded + 0.4 * unit, 0.0)
        skewed = 2.0 * beyond / (deviation + np.sqrt(variance + 4.0 / 3.0 * share * share * unit * beyond))
        return np.asarray(np.where(skewed < t, special.stdtr(effective, -skewed), p), dtype=np.float64)


def proof_tail(
    distance: FloatArray, variance: FloatArray, fourth: FloatArray, conceded: FloatArray, floor: FloatArray
) -> FloatArray:
    """Return the p-value of "the mean drop is at least d", elementwise; see `gate.stats.unit_interval`.

    `floor` is the variance at d of units that are lost as a whole. The smaller of two p-values is taken: that with at
    least this variance is the smaller one where few units changed, and that with the observed variance where many did.
    Where units are lost as a whole, both reject up to some number of lost units, so that the size is that of one test.
    """
    return np.minimum(tail(distance, variance, fourth, conceded), tail(distance, variance, fourth, conceded, floor))


def interval(differences: FloatArray, items: FloatArray, level: float, upper_only: bool) -> tuple[float, float]:
    """Return the drops that the score tests do not reject at a one-sided level.

    Parameters
    ----------
    differences : array of float, shape (units,)
        Summed differences of the items of each unit, each item's between -1 and 1.
    items : array of float, shape (units,)
        Number of items of each unit.
    level : float
        One-sided level, below 1/2.
    upper_only : bool
        Leave out the lower bound (it is -1).
    """
    low = -1.0 if upper_only else -_upper_bound(-differences, items, level)
    return low, _upper_bound(differences, items, level)


def _upper_bound(differences: FloatArray, items: FloatArray, level: float) -> float:
    """Return the drop above which every drop is rejected, by a grid and a bisection."""
    n, largest, weight = float(items.sum()), float(items.max()), float(np.dot(items, items))
    mean = float(differences.sum()) / n
    rejects = _test(differences - items * mean, items, mean, n, largest, weight, level)
    grid = mean + (1.0 - mean) * _GRID
    kept = np.flatnonzero(~rejects(grid))
    last = int(kept[-1]) if kept.size else 0
    if last == grid.size - 1:
        return 1.0
    low, high = grid[last], grid[last + 1]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if rejects(np.array(middle)) else (middle, high)
    return float(high)


def _test(
    centred: FloatArray, items: FloatArray, mean: float, n: float, largest: float, weight: float, level: float
) -> Callable[[FloatArray], NDArray[np.bool_]]:
    """Return the test of "the mean drop is at least d" as a function of d."""
    powers = [
        [math.fsum(centred ** (order - k) * items**k) * math.comb(order, k) for k in range(order + 1)]
        for order in (2, 4)
    ]

    def rejects(drop: FloatArray) -> NDArray[np.bool_]:
        away = mean - drop
        squares, fourths = (sum(power * away**k for k, power in enumerate(row)) for row in powers)
        conceded = largest * (1.0 - drop)
        floor = np.where(drop > 0.0, weight * drop * (1.0 - drop), 0.0)
        variance, fourth = np.maximum(squares, 0.0) + conceded**2, np.maximum(fourths, 0.0) + conceded**4
        return np.asarray(proof_tail(n * -away, variance, fourth, conceded, floor) <= level, dtype=np.bool_)

    return rejects
