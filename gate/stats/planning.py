"""Power of the whole decision over several tasks, by simulation: what a PASS could have seen."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gate.stats import _binomial, _nulls, _rules, _validate
from gate.stats._rules import Tasks
from gate.stats._validate import Counts, FloatArray
from gate.stats.joint import RULES, Rule

_NULL_DRAWS = 20_000
_SMALLEST_ALPHA = 0.01  # below it so many draws do not place the critical value
_PRECISION = 1e-3


class _Design:
    """The decision at one draw of the discordant counts: its critical values, and what it rejects."""

    def __init__(
        self, m: NDArray[np.int64], alpha: float, rule: Rule, generator: np.random.Generator
    ) -> None:
        self.m, self.alpha, self.rule = m, alpha, rule
        moved = np.flatnonzero(m)
        self.moved = moved
        self.tasks = Tasks(tuple(_nulls.coins(k) for k in m[moved].tolist()), np.zeros(moved.size))
        self.fisher = _rules.fisher_law(self.tasks, coarse=True) if rule in ("omnibus", "fisher") else None
        self.largest = _rules.max_law(self.tasks) if rule in ("omnibus", "max") and moved.size else None
        self.level = alpha
        if rule == "omnibus" and moved.size > 1 and alpha < _SMALLEST_ALPHA:
            self.level = (
                alpha / 3.0
            )  # Bonferroni over the three: a little less power than the rule itself has
        elif rule == "omnibus" and moved.size > 1:
            null = np.sort(self._p(generator.binomial(m[moved], 0.5, (_NULL_DRAWS, moved.size))))
            ranks = (1 + np.searchsorted(null, null, side="right")) / (_NULL_DRAWS + 1)
            within = null[ranks <= alpha]
            self.level = float(within[-1]) if within.size else 0.0

    def rejects(self, heads: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the rule rejects, for regressions of shape (runs, tasks)."""
        if self.moved.size == 0:
            return np.zeros(heads.shape[0], dtype=np.bool_)
        if self.rule == "holm":
            critical = _binomial.critical_count(self.m, self.alpha / self.m.size)
            return np.asarray((heads >= critical).any(axis=1))
        return np.asarray(self._p(heads[:, self.moved]) <= self.level * (1 + 1e-9))

    def _p(self, heads: NDArray[np.int64]) -> FloatArray:
        """P-value of the rule (for omnibus the smallest of three), for each row."""
        p = np.ones(heads.shape[0])
        if self.rule in ("omnibus", "pooled") or len(self.tasks.nulls) == 1:
            totals, inverse = np.unique(heads.sum(axis=1), return_inverse=True)
            p = _binomial.sf(totals, np.int64(self.m.sum()))[inverse]
        cost, largest = np.zeros(heads.shape[0]), np.full(heads.shape[0], -np.inf)
        for k, null in enumerate(self.tasks.nulls):
            # Outcomes beyond the table's 40 standard deviations count as its edge.
            first = round((null.values[0] + (null.coins or 0)) / 2)
            at = np.clip(heads[:, k] - first, 0, null.values.size - 1)
            cost += null.costs[at]
            largest = np.maximum(largest, null.values[at] / null.sigma)
        if self.largest is not None:
            by_max = self.largest.sf(largest)
            p = np.minimum(p, by_max)
        if self.fisher is not None:
            p = np.minimum(p, self.fisher.sf(cost))
        return p


class _Decision:
    """A decision over tasks of given sizes and flip rates, averaged over their discordant counts."""

    def __init__(
        self, n: NDArray[np.int64], flip_rates: FloatArray, alpha: float, rule: Rule, runs: int, seed: int
    ) -> None:
        self.flip_rates, self.seed = flip_rates, seed
        strata = min(runs, 16 if n.size <= 8 else 4)
        self.runs = math.ceil(runs / strata)
        generator = np.random.default_rng([seed, 0])
        counts = generator.binomial(n, flip_rates, (strata, n.size))
        self.designs = [_Design(m, alpha, rule, generator) for m in counts]

    def power(self, drops: FloatArray) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(self.flip_rates > 0, 0.5 + drops / (2.0 * self.flip_rates), 0.5)
        share = np.clip(share, 0.0, 1.0)
        generator = np.random.default_rng([self.seed, 1])
        rejected = [
            design.rejects(generator.binomial(design.m, share, (self.runs, design.m.size))).mean()
            for design in self.designs
        ]
        return float(np.mean(rejected))


def decision_power(
    n: int | Counts,
    flip_rates: Sequence[float] | FloatArray,
    drops: Sequence[float] | FloatArray,
    alpha: float = 0.05,
    rule: Rule = "omnibus",
    runs: int = 10_000,
    seed: int = 0,
) -> float:
    """Probability that the decision over all tasks fails a candidate with given true drops.

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
    runs : int, default 10,000
        Simulated evaluations.
    seed : int, default 0
        Seed of the simulation.

    Returns
    -------
    float
        The power; its standard error is about sqrt(power (1 - power) / runs).

    Raises
    ------
    ValueError
        Where an argument is out of range or the lengths differ.

    Notes
    -----
    Discordant counts M_k ~ Bin(n_k, flip_k) are drawn 16 times (4 times beyond 8 tasks). For each draw the
    rule's critical values are computed, for omnibus from 20,000 draws of the joint null (below alpha = .01
    alpha / 3 for each of its three parts instead), and regressions Bin(M_k, 1/2 + drop_k / (2 flip_k)) are
    tested.

    References
    ----------
    As for `power` and `omnibus`.

    Examples
    --------
    >>> from gate.stats import decision_power
    >>> power = decision_power([1172, 10042, 1319], [0.08, 0.05, 0.12], [0.01, 0.0, 0.02], runs=2000)
    >>> 0.4 < power < 0.8
    True
    """
    sizes, flips = _design_arguments(n, flip_rates, alpha, rule, runs)
    shift = np.asarray(drops, dtype=np.float64)
    if shift.shape != flips.shape:
        raise ValueError(
            f"drops: expected one per task ({flips.size}), found an array of shape {shift.shape}"
        )
    if not (np.abs(shift) <= flips * (1 + 1e-12)).all():
        raise ValueError("drops: expected sizes of at most the task's flip rate")
    return _Decision(sizes, flips, alpha, rule, runs, seed).power(shift)


def minimum_detectable_drop_joint(
    n: int | Counts,
    flip_rates: Sequence[float] | FloatArray,
    alpha: float = 0.05,
    power: float = 0.8,
    rule: Rule = "omnibus",
    runs: int = 4_000,
    seed: int = 0,
) -> float:
    """Smallest drop, the same on every task, that the whole decision finds with the given power.

    Parameters
    ----------
    n, flip_rates, alpha, rule, seed
        As for `decision_power`.
    power : float, default 0.8
        Power wanted.
    runs : int, default 4,000
        Simulated evaluations for each drop tried.

    Returns
    -------
    float
        The drop as a proportion, to about two digits; nan where even every flip being a regression is found
        less often than wanted. On a task whose flip rate is below it the drop is taken as the flip rate.

    Raises
    ------
    ValueError
        Where an argument is out of range or the lengths differ.

    Notes
    -----
    Bisection on `decision_power` with common critical values.

    References
    ----------
    As for `decision_power`.

    Examples
    --------
    >>> from gate.stats import minimum_detectable_drop_joint
    >>> 0.008 < minimum_detectable_drop_joint([1000, 1000], [0.05, 0.05], runs=1000) < 0.016
    True
    """
    sizes, flips = _design_arguments(n, flip_rates, alpha, rule, runs)
    _validate.open_unit("power", power)
    decision = _Decision(sizes, flips, alpha, rule, runs, seed)
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


def _design_arguments(
    n: int | Counts, flip_rates: Sequence[float] | FloatArray, alpha: float, rule: Rule, runs: int
) -> tuple[NDArray[np.int64], FloatArray]:
    flips = np.atleast_1d(np.asarray(flip_rates, dtype=np.float64))
    sizes = _validate.counts("n", n)
    if flips.ndim != 1 or flips.size == 0 or sizes.ndim > 1 or (sizes.ndim == 1 and sizes.size != flips.size):
        raise ValueError(
            f"n and flip_rates: expected one per task, found shapes {sizes.shape} and {flips.shape}"
        )
    if not ((flips >= 0.0) & (flips <= 1.0)).all():
        raise ValueError("flip_rates: expected proportions between 0 and 1")
    if rule not in RULES:
        raise ValueError(f"rule: expected one of {', '.join(RULES)}, found {rule!r}")
    _validate.open_unit("alpha", alpha)
    _validate.at_least("runs", runs, 1)
    return np.broadcast_to(sizes, flips.shape).astype(np.int64), flips
