"""Power of the whole decision over several tasks, by simulation."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gate.stats import _binomial, _nulls, _rules, _validate
from gate.stats._validate import RNG, Counts, FloatArray
from gate.stats.combine import RULES
from gate.stats.results import Rule

_NULL_DRAWS = 20_000
_MIN_ALPHA = 0.01  # below this, the null draws do not determine the critical value
_PRECISION = 1e-3


class _Design:
    """The decision at fixed discordant counts: critical values and rejections."""

    def __init__(self, m: NDArray[np.int64], alpha: float, rule: Rule, generator: np.random.Generator) -> None:
        self.m, self.alpha, self.rule = m, alpha, rule
        self.active = active = np.flatnonzero(m)  # the tasks with discordant items
        self.nulls = [_nulls.coins(k) for k in m[active].tolist()]
        self.fisher = _rules.fisher_law(self.nulls, coarse=True) if rule in ("omnibus", "fisher") else None
        self.largest = _rules.max_law(self.nulls) if rule in ("omnibus", "max") and active.size else None
        self.level = alpha
        if rule == "omnibus" and active.size > 1 and alpha < _MIN_ALPHA:
            self.level = alpha / 3.0  # Bonferroni over the three: slightly less power than the rule itself
        elif rule == "omnibus" and active.size > 1:
            null = np.sort(self._p(generator.binomial(m[active], 0.5, (_NULL_DRAWS, active.size))))
            ranks = (1 + np.searchsorted(null, null, side="right")) / (_NULL_DRAWS + 1)
            within = null[ranks <= alpha]
            self.level = float(within[-1]) if within.size else 0.0

    def rejects(self, heads: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the rule rejects, for regressions of shape (runs, tasks)."""
        if self.active.size == 0:
            return np.zeros(len(heads), dtype=np.bool_)
        if self.rule == "holm":
            critical = _binomial.critical_count(self.m, self.alpha / self.m.size)
            return np.asarray((heads >= critical).any(axis=1))
        return np.asarray(self._p(heads[:, self.active]) <= self.level * (1 + 1e-9))

    def _p(self, heads: NDArray[np.int64]) -> FloatArray:
        """Return the p-value of the rule (for omnibus the smallest of three) for each row."""
        p = np.ones(heads.shape[0])
        if self.rule in ("omnibus", "pooled") or len(self.nulls) == 1:
            totals, inverse = np.unique(heads.sum(axis=1), return_inverse=True)
            p = _binomial.sf(totals, np.int64(self.m.sum()))[inverse]
        cost, largest = np.zeros(heads.shape[0]), np.full(heads.shape[0], -np.inf)
        for k, null in enumerate(self.nulls):
            # Outcomes beyond the table's 40 standard deviations are moved to its edge.
            first = round((null.values[0] + (null.coins or 0)) / 2)
            index = np.clip(heads[:, k] - first, 0, null.values.size - 1)
            cost += null.costs[index]
            largest = np.maximum(largest, null.values[index] / null.sigma)
        if self.largest is not None:
            p = np.minimum(p, self.largest.sf(largest))
        if self.fisher is not None:
            p = np.minimum(p, self.fisher.sf(cost))
        return p


class PlannedDecision:
    """A decision over tasks whose power can be evaluated at many drops; parameters as for `decision_power`."""

    def __init__(
        self,
        n: int | Counts,
        flip_rates: Sequence[float] | FloatArray,
        alpha: float = 0.05,
        rule: Rule = "omnibus",
        *,
        n_resamples: int = 10_000,
        rng: RNG = None,
    ) -> None:
        flips = np.atleast_1d(np.asarray(flip_rates, dtype=np.float64))
        sizes = _validate.counts("n", n)
        if flips.ndim != 1 or flips.size == 0 or sizes.shape not in ((), flips.shape):
            raise ValueError(f"n and flip_rates: expected one per task, found shapes {sizes.shape} and {flips.shape}")
        _validate.proportions("flip_rates", flips)
        if rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, found {rule!r}")
        _validate.open_unit("alpha", alpha)
        _validate.at_least("n_resamples", n_resamples, 1)
        self.flip_rates, self._seed = flips, _validate.seed(rng)
        strata = min(n_resamples, 16 if flips.size <= 8 else 4)
        self._runs = math.ceil(n_resamples / strata)
        generator = np.random.default_rng([self._seed, 0])
        counts = generator.binomial(np.broadcast_to(sizes, flips.shape), flips, (strata, flips.size))
        self._designs = [_Design(m, alpha, rule, generator) for m in counts]

    def power(self, drops: FloatArray) -> float:
        """Return the probability of FAIL at one true drop per task, each of size at most its flip rate."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(self.flip_rates > 0, 0.5 + drops / (2.0 * self.flip_rates), 0.5)
        share = np.clip(share, 0.0, 1.0)
        generator = np.random.default_rng([self._seed, 1])
        size = (self._runs, share.size)
        rejected = [design.rejects(generator.binomial(design.m, share, size)).mean() for design in self._designs]
        return float(np.mean(rejected))


def decision_power(
    n: int | Counts,
    flip_rates: Sequence[float] | FloatArray,
    drops: Sequence[float] | FloatArray,
    alpha: float = 0.05,
    rule: Rule = "omnibus",
    *,
    n_resamples: int = 10_000,
    rng: RNG = None,
) -> float:
    """Return the probability that the decision over all tasks fails a candidate with given true drops.

    Parameters
    ----------
    n : int or integer array, shape (tasks,)
        Paired items of each task.
    flip_rates : array of float, shape (tasks,)
        Expected share of discordant items of each task.
    drops : array of float, shape (tasks,)
        True drop of each task, a proportion of size at most its flip rate.
    alpha : float, default 0.05
        Level of the decision.
    rule : {'omnibus', 'pooled', 'max', 'fisher', 'holm'}, default 'omnibus'
        The rule that decides, at margin 0.
    n_resamples : int, default 10,000
        Simulated evaluations.
    rng : int or numpy.random.Generator, optional
        Seed of the simulation, or a generator that provides it; by default the seed is random.

    Returns
    -------
    float
        The power; its standard error is about sqrt(power (1 - power) / n_resamples).

    Notes
    -----
    Discordant counts M_k ~ Bin(n_k, flip_k) are drawn 16 times (4 times beyond 8 tasks). For each draw the
    critical values of the rule are computed, for omnibus from 20,000 draws of the joint null (below alpha = .01,
    alpha / 3 for each of its three parts instead). Then regressions Bin(M_k, 1/2 + drop_k / (2 flip_k)) are
    tested.

    Examples
    --------
    >>> from gate.stats import decision_power
    >>> power = decision_power([1172, 10042, 1319], [0.08, 0.05, 0.12], [0.01, 0, 0.02], n_resamples=2000, rng=0)
    >>> 0.4 < power < 0.8
    True
    """
    decision = PlannedDecision(n, flip_rates, alpha, rule, n_resamples=n_resamples, rng=rng)
    flips, shift = decision.flip_rates, np.asarray(drops, dtype=np.float64)
    if shift.shape != flips.shape:
        raise ValueError(f"drops: expected one per task ({flips.size}), found an array of shape {shift.shape}")
    wrong = ~(np.abs(shift) <= flips * (1 + 1e-12))
    if wrong.any():
        raise ValueError(
            f"drops: expected an absolute value of at most the task's flip rate {flips[wrong][0]}, "
            f"found {shift[wrong][0]}"
        )
    return decision.power(shift)


def decision_detectable_drop(
    n: int | Counts,
    flip_rates: Sequence[float] | FloatArray,
    alpha: float = 0.05,
    power: float = 0.8,
    rule: Rule = "omnibus",
    *,
    n_resamples: int = 4_000,
    rng: RNG = None,
) -> float:
    """Return the smallest drop, the same on every task, that the whole decision detects with the given power.

    Parameters
    ----------
    n, flip_rates, alpha, rule, rng
        As for `decision_power`.
    power : float, default 0.8
        Required power.
    n_resamples : int, default 4,000
        Simulated evaluations for each drop tried.

    Returns
    -------
    float
        The drop as a proportion, to about two digits; nan if the power is not reached even where every
        discordant item is a regression. On a task with a smaller flip rate the drop is its flip rate.

    Notes
    -----
    Bisection on `decision_power` with common critical values.

    Examples
    --------
    >>> from gate.stats import decision_detectable_drop
    >>> 0.008 < decision_detectable_drop([1000, 1000], [0.05, 0.05], n_resamples=1000, rng=0) < 0.016
    True
    """
    _validate.open_unit("power", power)
    decision = PlannedDecision(n, flip_rates, alpha, rule, n_resamples=n_resamples, rng=rng)
    flips = decision.flip_rates
    low, high = 0.0, float(flips.max())
    if decision.power(flips) < power:
        return math.nan
    while high - low > _PRECISION * high:
        middle = 0.5 * (low + high)
        if decision.power(np.minimum(middle, flips)) < power:
            low = middle
        else:
            high = middle
    return high
