"""Planned tasks that share clusters: blocks of flips, each in one or several tasks, and the rules over them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats import _binomial, _tango
from gate.stats._planned_rules import Table
from gate.stats._validate import FloatArray
from gate.stats.results import Rule

_SLACK = 1e-9
_FEWEST_BEYOND = 20  # null draws beyond the critical value that determine it


@dataclass(frozen=True, eq=False)
class PlannedLinks:
    """How planned tasks share their flips.

    Attributes
    ----------
    members : bool array, shape (groups, tasks)
        The tasks, at least two, in which a group of clusters has items.
    shares : float array, shape (groups, tasks)
        Share of each task's flips that are in these clusters; their sum over the groups is at most 1 for each task.
    """

    members: NDArray[np.bool_]
    shares: FloatArray

    @property
    def blocks(self) -> NDArray[np.int64]:
        """The tasks of each block, shape (tasks + groups, tasks): what is a task's own, then the shared groups."""
        return np.concatenate([np.eye(self.members.shape[1], dtype=np.int64), self.members.astype(np.int64)])

    def split(self, values: FloatArray) -> FloatArray:
        """Return how numbers per task spread over the blocks, shape (tasks + groups,).

        A shared flip is one flip of each member, so a group has as many as the member with the fewest.
        """
        per_group = np.where(self.members, self.shares * values, np.inf).min(axis=1)
        own = np.maximum(values - per_group @ self.members, 0.0)
        return np.concatenate([own, per_group])


class LinkedRuleAtZero:
    """A rule at margin 0 over blocks with about `typical` discordant units each: one sign per unit, in all its tasks.

    As in the decision, the p-values of pooled, max and Fisher are ranks among joint draws from the null distribution,
    and omnibus is the rank of the smallest.
    """

    def __init__(
        self,
        blocks: NDArray[np.int64],
        typical: FloatArray,
        alpha: float,
        rule: Rule,
        generator: np.random.Generator,
        null_draws: int,
    ) -> None:
        self._blocks, self._alpha, self._rule, self._level = blocks, alpha, rule, alpha
        m = np.rint(typical).astype(np.int64)
        b = generator.binomial(m, 0.5, (null_draws, m.size))
        self._exact = alpha * null_draws < _FEWEST_BEYOND
        self._null = [np.sort(values) for values in self._statistics(b, m - b)]
        if rule == "omnibus" and self._exact:
            self._level = alpha / 3.0
        elif rule == "omnibus":
            smallest = np.sort(np.min(self._parts(b, m - b), axis=0))
            ranks = (1 + np.searchsorted(smallest, smallest * (1 + _SLACK), side="right")) / (null_draws + 1)
            within = smallest[ranks <= alpha]
            self._level = float(within[-1]) if within.size else 0.0

    def rejects(self, b: Table, c: Table) -> NDArray[np.bool_]:
        """Return whether the rule rejects; b, c: per run and block."""
        if self._rule == "holm":
            worse, better = b @ self._blocks, c @ self._blocks
            critical = _binomial.critical_count(worse + better, self._alpha / worse.shape[1])
            return np.asarray((worse >= critical).any(axis=1))
        pooled, largest, fisher = self._parts(b, c)
        p = {"pooled": pooled, "max": largest, "fisher": fisher}.get(
            self._rule, np.minimum(np.minimum(pooled, largest), fisher)
        )
        return np.asarray(p <= self._level * (1 + _SLACK))

    def _statistics(self, b: Table, c: Table) -> list[FloatArray]:
        """Return the standardised pooled drop, the largest standardised drop of a task, and Fisher's sum of -ln p."""
        weights = self._blocks.sum(axis=1)
        pooled = (b - c) @ weights / np.sqrt(np.maximum((b + c) @ weights**2, 1))
        worse, better = b @ self._blocks, c @ self._blocks
        largest = np.max((worse - better) / np.sqrt(np.maximum(worse + better, 1)), axis=1)
        return [pooled, largest, -_binomial.log_sf(worse, worse + better).sum(axis=1)]

    def _parts(self, b: Table, c: Table) -> list[FloatArray]:
        """Return the p-values of pooled, max and Fisher."""
        statistics = self._statistics(b, c)
        if self._exact:  # too far in the tail for draws: normal, Bonferroni, and a bound for dependent tasks
            tasks = self._blocks.shape[1]
            pooled, largest, fisher = statistics
            return [special.ndtr(-pooled), tasks * special.ndtr(-largest), tasks * np.exp(-fisher / tasks)]
        size = len(self._null[0])
        return [
            (1 + size - np.searchsorted(null, values - _SLACK * (1 + np.abs(values)), side="left")) / (size + 1)
            for null, values in zip(self._null, statistics, strict=True)
        ]


class LinkedRuleAtMargin:
    """A rule at margins above 0: pooled is the score test on the units' sums, the others are Bonferroni's method."""

    def __init__(
        self, blocks: NDArray[np.int64], n: NDArray[np.int64], margins: FloatArray, alpha: float, rule: Rule
    ) -> None:
        self._blocks, self._n, self._margins, self._alpha, self._rule = blocks, n, margins, alpha, rule

    def rejects(self, b: Table, c: Table) -> NDArray[np.bool_]:
        """Return whether the rule rejects; b, c: per run and block."""
        items = self._n @ self._blocks
        tasks = items.size
        logs = special.log_ndtr(-_tango.score_z(b @ self._blocks, c @ self._blocks, items, self._margins))
        bonferroni = np.log(tasks) + logs.min(axis=1)
        if self._rule not in ("pooled", "omnibus"):
            return np.asarray(bonferroni <= math.log(self._alpha))
        weights, mean = self._blocks.sum(axis=1), float(np.dot(items, self._margins)) / float(items.sum())
        distance = (b - c) @ weights - mean * float(items.sum())
        squares = weights**2
        variance = b @ squares * (1.0 - mean) ** 2 + c @ squares * (1.0 + mean) ** 2
        variance = variance + (self._n - b - c) @ squares * mean**2
        pooled = special.log_ndtr(-distance / np.sqrt(np.maximum(variance, 1e-300)))
        if self._rule == "pooled":
            return np.asarray(pooled <= math.log(self._alpha))
        return np.asarray(np.minimum(pooled, bonferroni) <= math.log(self._alpha / 2.0))
