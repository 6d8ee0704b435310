"""The three aggregates over tasks, in log space, for any mixture of null distributions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from gate.stats import _binomial, _sums
from gate.stats._nulls import TIE, Null
from gate.stats._sums import SumLaw
from gate.stats._validate import FloatArray
from gate.stats.evidence import Evidence
from gate.stats.results import AggregateResult

_SIGMAS = 9.0  # half-width of the pooled sum's grid: 1e-18 of the mass lies beyond
_FAR_COST = 500.0
_LN_1E18 = -41.5


@dataclass(frozen=True, eq=False)
class Tasks:
    """The tasks with discordant items: their null distributions and observed statistics."""

    nulls: tuple[Null, ...]
    statistics: FloatArray

    @classmethod
    def of(cls, evidences: Sequence[Evidence]) -> "Tasks":
        """Return the tasks in an order that depends on the evidence alone."""
        kept = sorted(
            (e for e in evidences if e.discordant),
            key=lambda e: (e.null.sigma, e.null.values.size, e.statistic),
        )
        return cls(tuple(e.null for e in kept), np.array([e.statistic for e in kept]))

    @property
    def all_coins(self) -> bool:
        """Whether every task counts discordant items, so that their sum is one binomial."""
        return all(null.coins is not None and null.unit == 1.0 for null in self.nulls)

    @property
    def total_coins(self) -> int:
        """Discordant items of all tasks, if all tasks are binary."""
        return sum(null.coins or 0 for null in self.nulls)

    @cached_property
    def pooled_law(self) -> SumLaw | None:
        """Law of the pooled sum; None where it is a single binomial."""
        if self.all_coins or len(self.nulls) < 2:
            return None
        reach = _SIGMAS * math.sqrt(sum(null.sigma**2 for null in self.nulls))
        return _sums.sum_law([null.values for null in self.nulls], [null.pmf for null in self.nulls], -reach, reach)

    @cached_property
    def fisher_law(self) -> SumLaw | None:
        """Law of Fisher's statistic; None for a single task."""
        return fisher_law(self.nulls)

    @cached_property
    def log_pooled(self) -> float:
        """Ln p of the sum of all statistics."""
        if not self.nulls:
            return 0.0
        total = math.fsum(self.statistics)
        if self.all_coins:
            heads = np.int64((self.total_coins + round(total)) // 2)
            return float(_binomial.log_sf(heads, np.int64(self.total_coins)))
        if self.pooled_law is None:
            return min(0.0, self.nulls[0].log_tail(total))
        p = float(self.pooled_law.sf(total))
        if self.pooled_law.exact or p > _sums.FAR:
            return math.log(p) if p > 0.0 else -math.inf
        return chernoff(self.nulls, total)

    @cached_property
    def largest(self) -> float:
        """Largest statistic in null standard deviations; 0 without discordant items."""
        return max((t / null.sigma for t, null in self._pairs()), default=0.0)

    @cached_property
    def log_max(self) -> float:
        """Ln p of the largest standardised statistic."""
        return log_max(self.nulls, self.largest) if self.nulls else 0.0

    @cached_property
    def cost(self) -> float:
        """Fisher's statistic, -sum(ln p_k)."""
        return float(np.sum([max(0.0, -null.log_tail(t)) for t, null in self._pairs()]))

    @cached_property
    def log_fisher(self) -> float:
        """Ln p of Fisher's statistic."""
        if not self.nulls:
            return 0.0
        if self.fisher_law is None:
            return -self.cost
        p = float(self.fisher_law.sf(self.cost))
        if p > (1e-290 if self.fisher_law.exact else _sums.FAR):
            return math.log(p)
        bound = _sums.gamma_log_sf(len(self.nulls), self.cost)
        if self.fisher_law.exact or self.cost > _FAR_COST:
            return bound
        costs, pmfs = [null.costs for null in self.nulls], [null.pmf for null in self.nulls]
        return min(bound, _sums.far_log_tail(costs, pmfs, self.cost))

    @property
    def pooled(self) -> AggregateResult:
        return AggregateResult(math.fsum(self.statistics), math.exp(self.log_pooled))

    @property
    def max_drop(self) -> AggregateResult:
        return AggregateResult(self.largest, math.exp(self.log_max))

    @property
    def fisher(self) -> AggregateResult:
        return AggregateResult(2.0 * self.cost, math.exp(self.log_fisher))

    def _pairs(self) -> list[tuple[float, Null]]:
        return list(zip(self.statistics.tolist(), self.nulls, strict=True))


def chernoff(nulls: Sequence[Null], total: float) -> float:
    """Return an upper bound of ln P[sum >= total]: the minimum over theta of ln E exp(theta (sum - total))."""
    scale = math.sqrt(sum(null.sigma**2 for null in nulls))
    best = 0.0
    for theta in np.geomspace(0.1, 200.0, 80) / scale:
        log_moment = sum(float(special.logsumexp(theta * null.values, b=null.pmf)) for null in nulls)
        best = min(best, log_moment - theta * total)
    return best


def log_max(nulls: Sequence[Null], z: float) -> float:
    """Return ln P[max of the standardised statistics >= z]."""
    tails = np.array([null.log_tail(z * null.sigma - TIE * null.sigma) for null in nulls])
    return log_any(tails)


def log_any(log_tails: FloatArray) -> float:
    """Return ln(1 - prod(1 - p_k)), without cancellation at small p_k."""
    if (log_tails >= 0.0).any():
        return 0.0
    if log_tails.max() < -30.0:
        return float(special.logsumexp(log_tails))
    return math.log(-math.expm1(float(np.sum(np.log1p(-np.exp(log_tails))))))


def max_law(nulls: Sequence[Null], from_z: float = 0.5, to_z: float = 9.0) -> SumLaw:
    """Return the law of the largest standardised statistic at all attainable values between two bounds."""
    standardised = [null.values / null.sigma for null in nulls]
    points = np.unique(np.concatenate([z[(z >= from_z) & (z <= to_z)] for z in standardised]))
    points = points[np.diff(points, prepend=-np.inf) > 2 * TIE] if points.size else np.array([from_z])
    log_none = np.zeros(points.size)
    with np.errstate(divide="ignore"):
        for z, null in zip(standardised, nulls, strict=True):
            index = np.searchsorted(z, points - 2 * TIE, side="left")
            tail = np.where(index < z.size, np.exp(null.log_sf[np.minimum(index, z.size - 1)]), 0.0)
            log_none += np.log1p(-np.minimum(tail, 1.0))
    return SumLaw(points, -np.expm1(log_none), exact=True)


def fisher_law(nulls: Sequence[Null], coarse: bool = False) -> SumLaw | None:
    """Return the law of -sum ln p_k, exact given the sizes of the differences; None for a single task."""
    if len(nulls) < 2:
        return None
    high = 45.0
    while _sums.gamma_log_sf(len(nulls), high) > _LN_1E18:
        high *= 1.1
    return _sums.sum_law([null.costs for null in nulls], [null.pmf for null in nulls], 0.0, high, coarse)
