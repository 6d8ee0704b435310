"""The three aggregates over tasks, in log space, for any mixture of null distributions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats import _binomial, _sums
from gate.stats._nulls import TIE, Null, coins
from gate.stats._sums import SumLaw
from gate.stats._validate import FloatArray
from gate.stats.evidence import Evidence

_SIGMAS = 9.0  # reach of the pooled sum's grid: 1e-18 of its mass lies beyond
_FAR_COST = 500.0
_LN_1E18 = -41.5


@dataclass(frozen=True, eq=False)
class Tasks:
    """The tasks that carry evidence, as null distributions with the observed statistics."""

    nulls: tuple[Null, ...]
    statistics: FloatArray

    @property
    def all_coins(self) -> bool:
        """Whether every task counts discordant items, so that pooling is one binomial."""
        return all(null.coins is not None and null.unit == 1.0 for null in self.nulls)

    @property
    def total_coins(self) -> int:
        return sum(null.coins or 0 for null in self.nulls)

    def standardised(self) -> FloatArray:
        return np.array(
            [t / null.sigma for t, null in zip(self.statistics.tolist(), self.nulls, strict=True)]
        )

    def log_p(self) -> FloatArray:
        """Ln p of each task."""
        return np.array(
            [min(0.0, null.log_tail(t)) for t, null in zip(self.statistics.tolist(), self.nulls, strict=True)]
        )


def from_counts(b: NDArray[np.int64], c: NDArray[np.int64], nulls: dict[int, Null]) -> Tasks:
    """The tasks with discordant items, ordered by the counts alone. `nulls`, by m, is filled in place."""
    kept = np.flatnonzero(b + c)
    kept = kept[np.lexsort((b[kept], (b + c)[kept]))]
    sizes = (b + c)[kept].tolist()
    for m in sizes:
        if m not in nulls:
            nulls[m] = coins(m)
    return Tasks(tuple(nulls[m] for m in sizes), (b - c)[kept].astype(np.float64))


def from_evidence(evidences: Sequence[Evidence]) -> Tasks:
    """The tasks with discordant items, in an order that depends on the evidence alone."""
    kept = sorted(
        (e for e in evidences if e.discordant), key=lambda e: (e.null.sigma, e.null.values.size, e.statistic)
    )
    return Tasks(tuple(e.null for e in kept), np.array([e.statistic for e in kept]))


def pooled_law(tasks: Tasks) -> SumLaw | None:
    """Law of the pooled sum where it is not one binomial."""
    if tasks.all_coins or len(tasks.nulls) < 2:
        return None
    reach = _SIGMAS * math.sqrt(sum(null.sigma**2 for null in tasks.nulls))
    return _sums.sum_law(
        [null.values for null in tasks.nulls], [null.pmf for null in tasks.nulls], -reach, reach
    )


def log_pooled(tasks: Tasks, law: SumLaw | None) -> float:
    """Ln p of the sum of all statistics."""
    if not tasks.nulls:
        return 0.0
    total = math.fsum(tasks.statistics)
    if tasks.all_coins:
        heads = np.int64((tasks.total_coins + round(total)) // 2)
        return float(_binomial.log_sf(heads, np.int64(tasks.total_coins)))
    if law is None:
        return min(0.0, tasks.nulls[0].log_tail(total))
    p = float(law.sf(total))
    if law.exact or p > _sums.FAR:
        return math.log(p) if p > 0.0 else -math.inf
    return _chernoff(tasks.nulls, total)


def _chernoff(nulls: Sequence[Null], total: float) -> float:
    """An upper bound of ln P[sum >= total]: the smallest value of ln E exp(theta sum) - theta total."""
    scale = math.sqrt(sum(null.sigma**2 for null in nulls))
    best = 0.0
    for theta in np.geomspace(0.1, 200.0, 80) / scale:
        log_moment = sum(float(special.logsumexp(theta * null.values, b=null.pmf)) for null in nulls)
        best = min(best, log_moment - theta * total)
    return best


def log_max(tasks: Tasks, largest: float | None = None) -> float:
    """Ln P[max of the standardised statistics >= largest]; by default of the largest observed."""
    if not tasks.nulls:
        return 0.0
    z = float(tasks.standardised().max()) if largest is None else largest
    tails = np.array([null.log_tail(z * null.sigma - TIE * null.sigma) for null in tasks.nulls])
    return log_any(tails)


def log_any(log_tails: FloatArray) -> float:
    """Ln of 1 - prod(1 - p_k), without cancellation at small p_k."""
    if (log_tails >= 0.0).any():
        return 0.0
    if log_tails.max() < -30.0:
        return float(special.logsumexp(log_tails))
    return math.log(-math.expm1(float(np.sum(np.log1p(-np.exp(log_tails))))))


def max_law(tasks: Tasks, from_z: float = 0.5, to_z: float = 9.0) -> SumLaw:
    """Law of the largest standardised statistic at all attainable values between two bounds."""
    standardised = [null.values / null.sigma for null in tasks.nulls]
    points = np.unique(np.concatenate([z[(z >= from_z) & (z <= to_z)] for z in standardised]))
    points = points[np.diff(points, prepend=-np.inf) > 2 * TIE] if points.size else np.array([from_z])
    log_none = np.zeros(points.size)
    with np.errstate(divide="ignore"):
        for z, null in zip(standardised, tasks.nulls, strict=True):
            at = np.searchsorted(z, points - 2 * TIE, side="left")
            tail = np.where(at < z.size, np.exp(null.log_sf[np.minimum(at, z.size - 1)]), 0.0)
            log_none += np.log1p(-np.minimum(tail, 1.0))
    return SumLaw(points, -np.expm1(log_none), exact=True)


def fisher_law(tasks: Tasks, coarse: bool = False) -> SumLaw | None:
    """Law of -sum ln p_k, exact given the discordant differences; None for a single task."""
    if len(tasks.nulls) < 2:
        return None
    high = 45.0
    while _sums.gamma_log_sf(len(tasks.nulls), high) > _LN_1E18:
        high *= 1.1
    return _sums.sum_law(
        [null.costs for null in tasks.nulls], [null.pmf for null in tasks.nulls], 0.0, high, coarse
    )


def log_fisher(tasks: Tasks, law: SumLaw | None) -> float:
    """Ln p of Fisher's statistic."""
    if not tasks.nulls:
        return 0.0
    cost = -float(np.sum(tasks.log_p()))
    if law is None:
        return -cost
    p = float(law.sf(cost))
    if p > (1e-290 if law.exact else _sums.FAR):
        return math.log(p)
    bound = _sums.gamma_log_sf(len(tasks.nulls), cost)
    if law.exact or cost > _FAR_COST:
        return bound
    far = _sums.far_log_tail([null.costs for null in tasks.nulls], [null.pmf for null in tasks.nulls], cost)
    return min(bound, far)
