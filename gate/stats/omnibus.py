"""One decision with one error rate: the smallest of three p-values against its own null distribution."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from gate.stats import _binomial, _draws, _rules, _sums, _validate
from gate.stats._draws import Bounds
from gate.stats._rules import Tasks
from gate.stats._sums import FAR, SumLaw
from gate.stats._validate import Counts

_SLACK = 1e-9  # relative: p-values this close to the observed one count as equal to it
_CERTAINTY = 0.999
MAX_DRAWS = 1 << 24


@dataclass(frozen=True, slots=True)
class Simulated:
    """An omnibus p-value and how well it is known.

    Attributes
    ----------
    p_value : float
        (1 + hits) / (draws + 1), or the exact value.
    draws : int
        Draws made; 0 where the value is exact.
    low, high : float
        99.9 % Clopper-Pearson interval of what infinitely many draws would give.
    """

    p_value: float
    draws: int
    low: float
    high: float


def omnibus(
    b: int | Counts,
    c: int | Counts,
    draws: int = 1_000_000,
    seed: int = 0,
    alpha: float | None = None,
    max_draws: int = MAX_DRAWS,
) -> float:
    """Omnibus test of a degradation anywhere: pooled, largest drop and Fisher under one error rate.

    Parameters
    ----------
    b, c : int or integer array, shape (tasks,)
        Regressions and improvements of each task.
    draws : int, default 1,000,000
        Draws from the joint null distribution.
    seed : int, default 0
        Seed of the draws. The order of the tasks does not matter.
    alpha : float, optional
        Where given, draws are doubled until the 99.9 % interval of the p-value excludes `alpha`, or
        `max_draws`.
    max_draws : int, default 2**24
        Cap of that doubling.

    Returns
    -------
    float
        (1 + hits) / (draws + 1), or the exact probability where it can be had.

    Raises
    ------
    ValueError
        Where a count is negative or not a whole number, the lengths differ, or there is no task.

    Notes
    -----
    Let x = min(p_pooled, p_max, p_fisher). Given the discordant counts m_k, b_k* ~ Bin(m_k, 1/2)
    independently under the null, so the law of the same minimum is known, and p = P0[x* <= x]: rejecting at p
    <= alpha has size at most alpha. As each of the three falls with its statistic, a draw is a hit where any
    statistic passes the bound at which its own p-value reaches x; values within rounding of the bound are
    hits. Up to a million outcomes are enumerated, and one task alone is exact. Where x < 1e-9 no draw is
    made: p = max(1 / (draws + 1), 3 x), which the union bound shows to be valid.

    References
    ----------
    Pesarin, Salmaso (2010), Permutation Tests for Complex Data, ch. 4 (nonparametric combination).

    Examples
    --------
    >>> from gate.stats import omnibus
    >>> round(omnibus([5, 9, 7, 12], [14, 6, 3, 9]), 3)
    0.331
    """
    first, second = _validate.task_pairs(b, c)
    _validate.at_least("draws", draws, 1)
    tasks = _rules.from_counts(first, second, {})
    fisher = _rules.fisher_law(tasks)
    smallest = min(_rules.log_pooled(tasks, None), _rules.log_max(tasks), _rules.log_fisher(tasks, fisher))
    return simulate(tasks, smallest, None, fisher, draws, seed, alpha, max_draws).p_value


def simulate(
    tasks: Tasks,
    log_smallest: float,
    pooled: SumLaw | None,
    fisher: SumLaw | None,
    draws: int,
    seed: int,
    alpha: float | None,
    max_draws: int = MAX_DRAWS,
) -> Simulated:
    """P0[the smallest of the three p-values <= the observed smallest]."""
    if alpha is not None:
        _validate.open_unit("alpha", alpha)
    smallest = math.exp(log_smallest)
    if len(tasks.nulls) < 2 or log_smallest >= 0.0:
        return Simulated(min(smallest, 1.0), 0, smallest, smallest)
    enumerable = math.prod(null.values.size for null in tasks.nulls) <= _sums.ENUMERATE
    if enumerable and smallest > 0.0:
        p = max(smallest, _draws.enumerate_hits(tasks.nulls, _bounds(tasks, smallest, pooled, fisher)))
        return Simulated(p, 0, p, p)
    if smallest < FAR:
        p = min(1.0, max(1.0 / (draws + 1), 3.0 * smallest))
        return Simulated(p, draws, smallest, p)
    return _by_draws(tasks, _bounds(tasks, smallest, pooled, fisher), draws, seed, alpha, max_draws)


def _by_draws(
    tasks: Tasks, bounds: Bounds, draws: int, seed: int, alpha: float | None, max_draws: int
) -> Simulated:
    hits, done, batch, wanted = 0, 0, 0, draws
    while True:
        while done < wanted:
            size = min(_draws.BATCH, wanted - done)
            hits += _draws.count_hits(tasks.nulls, bounds, batch, size, seed)
            done, batch = done + size, batch + 1
        low, high = _clopper_pearson(hits, done)
        if alpha is None or not low <= alpha <= high or 2 * done > max_draws:
            return Simulated((1 + hits) / (done + 1), done, low, high)
        wanted = 2 * done


def _clopper_pearson(hits: int, draws: int) -> tuple[float, float]:
    tail = 0.5 - 0.5 * _CERTAINTY
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, draws - hits + 1, tail))
    high = 1.0 if hits == draws else float(special.betaincinv(hits + 1, draws - hits, 1.0 - tail))
    return low, high


def _bounds(tasks: Tasks, smallest: float, pooled: SumLaw | None, fisher: SumLaw | None) -> Bounds:
    """Where each statistic's own p-value reaches `smallest`."""
    level = smallest * (1.0 + _SLACK)
    if tasks.all_coins:
        heads = int(_binomial.critical_count(np.int64(tasks.total_coins), min(level, 1.0)))
        pooled_bound = 2.0 * heads - tasks.total_coins - 1.0
    else:
        pooled_bound = pooled.critical(level) if pooled is not None else math.inf
    fisher_bound = fisher.critical(level) if fisher is not None else math.inf
    return Bounds(pooled_bound, fisher_bound, _largest_bound(tasks, math.log(level)))


def _largest_bound(tasks: Tasks, log_level: float) -> float:
    """The smallest attainable maximum whose p-value is at most the level; inf where there is none."""
    points = np.unique(np.concatenate([null.values / null.sigma for null in tasks.nulls]))
    low, high = -1, points.size  # low fails, high reaches the level
    while high - low > 1:
        middle = (low + high) // 2
        if _rules.log_max(tasks, float(points[middle])) <= log_level:
            high = middle
        else:
            low = middle
    return float(points[high]) if high < points.size else math.inf
