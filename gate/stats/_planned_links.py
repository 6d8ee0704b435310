"""Planned tasks that share clusters: blocks of flips, each in one or several tasks, and the rules over them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats import _tango
from gate.stats._planned_rules import Table
from gate.stats._validate import FloatArray
from gate.stats.results import Rule


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
