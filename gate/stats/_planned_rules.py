"""Whether a rule rejects simulated counts: what the planner needs to know about a decision.

The laws of max and Fisher are those at typical numbers of discordant items, so that one evaluation serves many
simulated runs; every other part uses the counts of the run.
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats import _binomial, _nulls, _rules, _tango
from gate.stats._nulls import Null
from gate.stats._validate import FloatArray
from gate.stats.results import Rule

_MIN_ALPHA = 0.002  # below this, the null draws do not determine the critical value

Table = NDArray[np.int64]
"""Counts, shape (runs, tasks)."""


class PlannedRule(Protocol):
    """A decision rule over simulated runs."""

    def rejects(self, b: Table, c: Table) -> NDArray[np.bool_]:
        """Return whether the rule rejects, one value per run; b, c: regressions and improvements."""


class RuleAtZero:
    """A rule at margin 0, for runs with about `typical` discordant items of each task."""

    def __init__(
        self, typical: FloatArray, alpha: float, rule: Rule, generator: np.random.Generator, null_draws: int
    ) -> None:
        if typical.size == 1 and rule != "holm":
            rule = "pooled"  # all rules are the same exact test
        self._rule, self._alpha, self._level = rule, alpha, alpha
        m = np.maximum(np.rint(typical), 1).astype(np.int64)
        nulls = [_nulls.coins(k) for k in m.tolist()]
        self._fisher = _rules.fisher_law(nulls, coarse=True) if rule in ("omnibus", "fisher") else None
        self._largest = _rules.max_law(nulls) if rule in ("omnibus", "max") else None
        if rule == "omnibus" and alpha < _MIN_ALPHA:
            self._level = alpha / 3.0  # Bonferroni over the three: slightly less power than the rule itself
        elif rule == "omnibus":
            b = generator.binomial(m, 0.5, (null_draws, m.size))
            # the counts differ only in b, so that a table of each task's -ln p saves most of the time
            costs = sum(_table(null)[column] for null, column in zip(nulls, b.T, strict=True))
            null = np.sort(self._p(b, m - b, costs))
            ranks = (1 + np.searchsorted(null, null, side="right")) / (null_draws + 1)
            within = null[ranks <= alpha]
            self._level = float(within[-1]) if within.size else 0.0

    def rejects(self, b: Table, c: Table) -> NDArray[np.bool_]:
        """Return whether the rule rejects."""
        if self._rule == "holm":
            critical = _binomial.critical_count(b + c, self._alpha / b.shape[1])
            return np.asarray((b >= critical).any(axis=1))
        costs = np.zeros(len(b)) if self._fisher is None else -_binomial.log_sf(b, b + c).sum(axis=1)
        return np.asarray(self._p(b, c, costs) <= self._level * (1 + 1e-9))

    def _p(self, b: Table, c: Table, costs: FloatArray) -> FloatArray:
        """Return the p-value of the rule (for omnibus the smallest of three); `costs` are the sums of -ln p."""
        m, p = b + c, np.ones(len(b))
        if self._rule in ("omnibus", "pooled"):
            pairs, inverse = np.unique(b.sum(axis=1) + 1j * m.sum(axis=1), return_inverse=True)
            p = _binomial.sf(pairs.real.astype(np.int64), pairs.imag.astype(np.int64))[inverse]
        if self._largest is not None:
            z = np.max((b - c) / np.sqrt(np.maximum(m, 1)), axis=1)
            p = np.minimum(p, self._largest.sf(z))
        if self._fisher is not None:
            p = np.minimum(p, self._fisher.sf(costs))
        return p


def _table(null: Null) -> FloatArray:
    """Return -ln p of a task by its number of regressions."""
    coins = null.coins or 0
    first = round((null.values[0] + coins) / 2)
    # outcomes beyond the 40 standard deviations of the null's window are moved to its edge
    return np.pad(null.costs, (first, coins + 1 - first - null.costs.size), mode="edge")


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
