"""The three aggregates over tasks, in log space, for any mixture of null distributions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from gate.stats import _binomial, _sums
from gate.stats._nulls import TIE, Null, chernoff
from gate.stats._sums import SumLaw
from gate.stats._validate import FloatArray
from gate.stats.evidence import Evidence
from gate.stats.results import AggregateResult

_SIGMAS = 9.0  # half-width of the pooled sum's grid: 1e-18 of the mass lies beyond
_FAR_COST = 500.0
_LN_1E18 = -41.5
_LARGEST_DRAW = 1e6  # a cost far above every other


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
    def resolution(self) -> float:
        """The p-value below which the drawn sign patterns of some task are too few; 0 if all tasks are exact.

        There, the aggregates are replaced by bounds that need no draws. A p-value stays valid if it is replaced by
        another valid one wherever it is at most a constant, and is then capped at the constant.
        """
        return max((null.resolution for null in self.nulls), default=0.0) if len(self.nulls) > 1 else 0.0

    def refined(self, log_p: float, log_bound: Callable[[], float]) -> float:
        """Return `log_p`, or the bound where the drawn sign patterns are too few for so small a p-value."""
        if self.resolution == 0.0 or log_p > math.log(self.resolution):
            return log_p
        return min(math.log(self.resolution), log_bound())

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
        if self.resolution == 0.0 and not self.pooled_law.exact and p <= _sums.FAR:
            return chernoff(self.nulls, total)
        return self.refined(math.log(p) if p > 0.0 else -math.inf, lambda: chernoff(self.nulls, total))

    @cached_property
    def largest(self) -> float:
        """Largest statistic in null standard deviations; 0 without discordant items."""
        return max((t / null.sigma for t, null in self._pairs()), default=0.0)

    @cached_property
    def log_max(self) -> float:
        """Ln p of the largest standardised statistic."""
        if not self.nulls:
            return 0.0
        z = self.largest
        return self.refined(
            log_max(self.nulls, z),
            lambda: log_any(np.array([null.log_bound((z - TIE) * null.sigma) for null in self.nulls])),
        )

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
        if self.resolution > 0.0:
            return self._log_fisher_of_draws(self.fisher_law)
        p = float(self.fisher_law.sf(self.cost))
        if p > (1e-290 if self.fisher_law.exact else _sums.FAR):
            return math.log(p)
        bound = _sums.gamma_log_sf(len(self.nulls), self.cost)
        if self.fisher_law.exact or self.cost > _FAR_COST:
            return bound
        costs, pmfs = [null.costs for null in self.nulls], [null.pmf for null in self.nulls]
        return min(bound, _sums.far_log_tail(costs, pmfs, self.cost))

    def _log_fisher_of_draws(self, law: SumLaw) -> float:
        """Return ln p where signs are drawn: the largest drawn value of a task counts as an infinite cost."""
        beyond = any(null.n_resamples and t >= null.values[-1] for t, null in self._pairs())
        p = float(law.sf(_LARGEST_DRAW if beyond else self.cost))
        rare = sum(0.5 * null.resolution for null in self.nulls) * (1.0 + 1e-9)
        if p > rare:
            return math.log(p)
        return min(math.log(rare), _sums.gamma_log_sf(len(self.nulls), self.cost))

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


def log_max(nulls: Sequence[Null], z: float) -> float:
    """Return ln P[max of the standardised statistics >= z]."""
    tails = np.array([null.log_tail(z * null.sigma - TIE * null.sigma) for null in nulls])
    return log_any(tails)


def log_any(log_tails: FloatArray) -> float:
    """Return ln(1 - prod(1 - p_k)), without cancellation at small p_k."""
    if log_tails.max() > -1e-16:  # exp rounds to 1
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
    return _sums.sum_law([law_costs(null) for null in nulls], [null.pmf for null in nulls], 0.0, high, coarse)


def law_costs(null: Null) -> FloatArray:
    """Return the costs of a null distribution; infinite, in effect, for the largest of the drawn values."""
    costs = null.costs
    if null.n_resamples:
        costs[-1] = _LARGEST_DRAW
    return costs
