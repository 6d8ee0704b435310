"""Whether a rule rejects simulated counts: what the planner needs to know about a decision.

The null distributions are those at typical numbers of discordant items, so that one serves many simulated runs. Holm,
and pooled over independent tasks, are the exact tests at the counts of each run.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats import _binomial, _nulls, _rules, _tango
from gate.stats._sums import SumLaw
from gate.stats._validate import FloatArray
from gate.stats.results import Rule

_FEWEST_BEYOND = 40  # null draws beyond the critical value that determine it
_ENUMERATE = 4_000
_SLACK = 1e-9
_REACH = 9.0  # standard deviations of a binomial distribution that are drawn from
_NORMAL = 500.0  # standard deviation above which a binomial distribution is drawn as a normal one

Table = NDArray[np.int64]
"""Counts, shape (runs, tasks)."""


class PlannedRule(Protocol):
    """A decision rule over simulated runs."""

    def rejects(self, b: Table, c: Table) -> NDArray[np.bool_]:
        """Return whether the rule rejects, one value per run; b, c: regressions and improvements."""


def spread_draws(n: NDArray[np.int64], p: FloatArray, runs: int, generator: np.random.Generator) -> Table:
    """Return evenly spread draws of independent binomials in random combinations (Latin hypercube), one per column."""
    quantiles = (np.arange(runs) + 0.5) / runs
    drawn = np.empty((runs, n.size), dtype=np.int64)
    for column, (size, share) in enumerate(zip(n.tolist(), p.tolist(), strict=True)):
        mean, deviation = size * share, math.sqrt(size * share * (1.0 - share))
        if deviation > _NORMAL:
            drawn[:, column] = np.rint(mean + deviation * special.ndtri(quantiles))
            continue
        low, high = (round(mean + side * (_REACH * deviation + _REACH)) for side in (-1.0, 1.0))
        values = np.arange(max(0, low), min(size, high) + 1)
        distribution = np.cumsum(_binomial_pmf(values, size, share))
        index = np.searchsorted(distribution, quantiles * distribution[-1])
        drawn[:, column] = values[np.minimum(index, values.size - 1)]
    return generator.permuted(drawn, axis=0)


def _binomial_pmf(values: NDArray[np.int64], n: int, p: float) -> FloatArray:
    log_ways = special.gammaln(n + 1.0) - special.gammaln(values + 1.0) - special.gammaln(n - values + 1.0)
    return np.asarray(np.exp(log_ways + special.xlogy(values, p) + special.xlog1py(n - values, -p)))


class RuleAtZero:
    """A rule at margin 0, for runs with about `typical` discordant units in each block.

    Parameters
    ----------
    typical : array of float, shape (blocks,)
    alpha, rule
    draws : int
        Draws from the null distribution, which is enumerated instead if it has few outcomes.
    generator : numpy.random.Generator
    blocks : integer array, shape (blocks, tasks), optional
        The tasks of each block: one of its units has one sign in all of them. By default every task is a block of its
        own: the tasks are independent.

    Notes
    -----
    Omnibus rejects where the smallest of three p-values has a rank of at most alpha. At a level too small for the
    draws it rejects at alpha / 3 (Bonferroni); the p-values are then exact for independent tasks, and otherwise the
    normal approximation, Bonferroni's, and a bound for dependent tasks.
    """

    def __init__(
        self,
        typical: FloatArray,
        alpha: float,
        rule: Rule,
        draws: int,
        generator: np.random.Generator,
        blocks: NDArray[np.int64] | None = None,
    ) -> None:
        if blocks is None and typical.size == 1 and rule != "holm":
            rule = "pooled"  # all rules are the same exact test
        self._blocks = None if blocks is None else blocks.astype(np.float64)
        self._rule, self._alpha, self._level = rule, alpha, alpha
        self._parts = ("pooled", "max", "fisher") if rule == "omnibus" else (rule,)
        self._laws: dict[str, SumLaw] = {}
        sampled = self._parts if blocks is not None else [part for part in self._parts if part != "pooled"]
        if rule == "holm" or not sampled:
            return
        m = np.rint(typical).astype(np.int64)
        if alpha * draws < _FEWEST_BEYOND:
            self._level = alpha / len(self._parts)
            if blocks is None:
                nulls = [_nulls.coins(max(k, 1)) for k in m.tolist()]
                fisher = _rules.fisher_law(nulls, coarse=True)
                self._laws = {"max": _rules.max_law(nulls), **({"fisher": fisher} if fisher is not None else {})}
            return
        b, weights = _null_outcomes(m, draws, generator)
        c = m - b
        self._laws = {part: _law(self._statistic(part, b, c), weights) for part in sampled}
        if rule == "omnibus":
            p = self._p(b, c)
            within = p[_law(-p, weights).sf(-p) <= alpha * (1 + _SLACK)]
            self._level = float(within.max(initial=0.0))

    def rejects(self, b: Table, c: Table) -> NDArray[np.bool_]:
        """Return whether the rule rejects, one value per run; b, c: regressions and improvements of each block."""
        if self._rule == "holm":
            worse = self._of_tasks(b)
            critical = _binomial.critical_count(self._of_tasks(b + c), self._alpha / worse.shape[1])
            return np.asarray((worse >= critical).any(axis=1))
        return np.asarray(self._p(b, c) <= self._level * (1 + _SLACK))

    def _p(self, b: Table, c: Table) -> FloatArray:
        """Return the p-value of the rule; for omnibus, the smallest of three."""
        return np.asarray(np.minimum.reduce([self._part(part, b, c) for part in self._parts]))

    def _part(self, part: str, b: Table, c: Table) -> FloatArray:
        """Return the p-value of pooled, max or Fisher."""
        if self._blocks is None and part == "pooled":
            return _by_count(_binomial.sf, b.sum(axis=1), (b + c).sum(axis=1))
        statistic = self._statistic(part, b, c)
        if part in self._laws:
            return self._laws[part].sf(statistic)
        if part == "fisher":
            tasks = self._of_tasks(b[:1]).shape[1]
            return np.asarray(tasks * np.exp(-statistic / tasks))
        tails = special.ndtr(-statistic)
        return np.asarray(tails if part == "pooled" else self._of_tasks(b[:1]).shape[1] * tails)

    def _statistic(self, part: str, b: Table, c: Table) -> FloatArray:
        """Return the standardised pooled drop, the largest standardised drop of a task, or Fisher's sum of -ln p."""
        if part == "pooled":
            weights = np.ones(b.shape[1]) if self._blocks is None else self._blocks.sum(axis=1)
            return np.asarray((b - c) @ weights / np.sqrt(np.maximum((b + c) @ weights**2, 1)))
        worse, total = self._of_tasks(b), self._of_tasks(b + c)
        if part == "max":
            return np.asarray(np.max((2 * worse - total) / np.sqrt(np.maximum(total, 1)), axis=1))
        columns = zip(worse.T, total.T, strict=True)
        return np.asarray(-sum(_by_count(_binomial.log_sf, own, m) for own, m in columns))

    def _of_tasks(self, counts: Table) -> Table:
        """Return the counts of tasks from those of blocks."""
        return counts if self._blocks is None else np.rint(counts @ self._blocks).astype(np.int64)


def _null_outcomes(m: NDArray[np.int64], draws: int, generator: np.random.Generator) -> tuple[Table, FloatArray]:
    """Return regressions under the null hypothesis and their probabilities: all outcomes, or draws."""
    if math.prod((m + 1).tolist()) > _ENUMERATE:
        return spread_draws(m, np.full(m.size, 0.5), draws, generator), np.full(draws, 1.0 / draws)
    weights = np.ones(1)
    for own in m:
        pmf = np.exp(_binomial.log_pmf(np.arange(own + 1), np.full(own + 1, own)))
        weights = np.multiply.outer(weights, pmf).ravel()
    return np.indices(tuple((m + 1).tolist())).reshape(m.size, -1).T, weights


def _law(values: FloatArray, weights: FloatArray) -> SumLaw:
    """Return the distribution of a statistic from its values at weighted outcomes."""
    order = np.argsort(values)
    return SumLaw(values[order], np.cumsum(weights[order][::-1])[::-1], exact=True)


def _by_count(
    tail: Callable[[NDArray[np.int64], NDArray[np.int64]], FloatArray], b: NDArray[np.int64], m: NDArray[np.int64]
) -> FloatArray:
    """Return tail(b, m), from a table where all m are equal: equal counts have equal tails."""
    if b.size == 0 or m.min() != m.max():
        return tail(b, m)
    low = b.min()
    values = np.arange(low, b.max() + 1)
    result: FloatArray = tail(values, np.full_like(values, m[0]))[b - low]
    return result


class RuleAtMargin:
    """A rule at margins above 0, with the score test in place of the exact unconditional test (an approximation)."""

    def __init__(self, n: NDArray[np.int64], margins: FloatArray, alpha: float, rule: Rule) -> None:
        self._n, self._margins, self._alpha, self._rule = n, margins, alpha, rule

    def rejects(self, b: Table, c: Table) -> NDArray[np.bool_]:
        """Return whether the rule rejects."""
        tasks = self._n.size
        logs = special.log_ndtr(-_tango.score_z(b, c, self._n, self._margins))
        smallest = logs.min(axis=1)
        if self._rule == "holm" or tasks == 1:
            return np.asarray(smallest <= math.log(self._alpha / tasks))
        total = self._n.sum()
        mean = np.asarray(float(np.dot(self._n, self._margins)) / float(total))
        pooled = special.ndtr(-_tango.score_z(b.sum(axis=1), c.sum(axis=1), total, mean))
        largest = -np.expm1(tasks * np.log1p(-np.exp(np.minimum(smallest, -1e-12))))
        fisher = special.gammaincc(tasks, -logs.sum(axis=1))
        if self._rule == "omnibus":
            return np.asarray(np.minimum(np.minimum(pooled, largest), fisher) <= self._alpha / 3.0)
        return np.asarray({"pooled": pooled, "max": largest, "fisher": fisher}[self._rule] <= self._alpha)
