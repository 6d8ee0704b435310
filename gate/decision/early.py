"""Stopping early: evidence that may be looked at after every item without spending more than its part of alpha."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gate.decision.result import EarlyStopping
from gate.stats import log_e_value

FloatArray = npt.NDArray[np.float64]


class Watch:
    """The flips of a candidate while it is evaluated, as an e-process against "no more regressions than improvements".

    Parameters
    ----------
    alpha : float
        Part of the decision's alpha that stopping early may spend.
    of : int
        Items of the gating tasks.

    Notes
    -----
    Given which items flip, the null says that each is a fair coin, whichever task it is from. Items must be independent
    (no clusters) and their order must not depend on their outcomes: it is drawn beforehand. Ville's inequality bounds
    the chance of ever reaching 1 / alpha by alpha; see `gate.stats.log_e_value`.
    """

    def __init__(self, alpha: float, of: int) -> None:
        self._alpha, self._of = alpha, of
        self._regressions = self._improvements = self._items = 0

    def look(self, baseline: FloatArray, candidate: FloatArray) -> bool:
        """Take in the scores of some more items, one a place of both arrays; tell whether to stop."""
        self._regressions += int(np.count_nonzero(candidate < baseline))
        self._improvements += int(np.count_nonzero(candidate > baseline))
        self._items += len(baseline)
        return self.log_e_value >= -math.log(self._alpha)

    @property
    def log_e_value(self) -> float:
        """Natural logarithm of the evidence so far."""
        return log_e_value(self._regressions, self._improvements)

    @property
    def found(self) -> EarlyStopping:
        """What the looks found, for the decision."""
        value = self.log_e_value
        return EarlyStopping(
            alpha=self._alpha,
            log_e_value=value,
            stopped=value >= -math.log(self._alpha),
            items=self._items,
            of=self._of,
        )


def looks(items: Sequence[int], every: int, seed: int) -> list[list[list[int]]]:
    """Cut every task's items, in random order, into the same number of looks.

    Parameters
    ----------
    items : sequence of int
        Items of each gating task.
    every : int
        Items a look, all tasks together.
    seed : int

    Returns
    -------
    list of (look, task, item) indices
        Each item of each task exactly once; every look has its share of each task, and the first some of every task.
        Inside a look the items of a task are in their own order, which makes better batches.
    """
    rng = np.random.default_rng(seed)
    count = max(1, min(-(-sum(items) // every), max(items, default=1)))
    cut = [np.array_split(rng.permutation(size), count) for size in items]
    return [[sorted(parts[look].tolist()) for parts in cut] for look in range(count)]
