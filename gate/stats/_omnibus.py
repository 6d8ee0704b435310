"""The null distribution of the smallest of three p-values: exact where enumerable, else from draws."""

import math

import numpy as np

from gate.stats import _binomial, _draws, _rules, _sums, _validate
from gate.stats._draws import Bounds
from gate.stats._rules import Tasks
from gate.stats._unconditional import SMALLEST
from gate.stats.results import ConfidenceInterval, OmnibusResult

_SLACK = 1e-9  # relative: p-values this close to the observed one count as equal to it
_CONFIDENCE_LEVEL = 0.999
_MAX_RESAMPLES = 1 << 24


def omnibus(tasks: Tasks, n_resamples: int, seed: int, alpha: float | None) -> OmnibusResult:
    """Return P0[the smallest of the three p-values <= the observed smallest]."""
    if alpha is not None:
        _validate.open_unit("alpha", alpha)
    log_smallest = min(tasks.log_pooled, tasks.log_max, tasks.log_fisher)
    smallest = math.exp(log_smallest)
    if len(tasks.nulls) < 2 or log_smallest >= 0.0:
        return exact(smallest, smallest)
    bound = max(3.0 * smallest, SMALLEST)
    enumerable = math.prod(null.values.size for null in tasks.nulls) <= _sums.ENUMERATE
    if enumerable and smallest > 0.0:
        p = _draws.enumerate_hits(tasks.nulls, _bounds(tasks, smallest))
        if p <= tasks.resolution:
            return exact(smallest, min(tasks.resolution, bound))
        return exact(smallest, max(smallest, p))
    if smallest < _sums.FAR:
        p = min(1.0, bound)
        return OmnibusResult(smallest, p, n_resamples, ConfidenceInterval(smallest, p))
    return _by_draws(tasks, smallest, n_resamples, seed, alpha)


def exact(smallest: float, p: float) -> OmnibusResult:
    """Return the result of a p-value known without draws."""
    return OmnibusResult(smallest, p, 0, ConfidenceInterval(p, p))


def _by_draws(tasks: Tasks, smallest: float, n_resamples: int, seed: int, alpha: float | None) -> OmnibusResult:
    bounds = _bounds(tasks, smallest)
    hits, drawn, batch, target = 0, 0, 0, n_resamples
    while True:
        while drawn < target:
            size = min(_draws.BATCH, target - drawn)
            hits += _draws.count_hits(tasks.nulls, bounds, batch, size, seed)
            drawn, batch = drawn + size, batch + 1
        bounds_of_p = _binomial.clopper_pearson(np.int64(hits), np.int64(drawn), _CONFIDENCE_LEVEL)
        low, high = (float(bound) for bound in bounds_of_p)
        p = (1 + hits) / (drawn + 1)
        # a p-value at its floor is replaced by the union bound: it stays valid, as the floor is a constant
        floor = max(1.0 / (drawn + 1), tasks.resolution)
        if p <= floor and 3.0 * smallest < floor:
            return OmnibusResult(smallest, 3.0 * smallest, drawn, ConfidenceInterval(smallest, 3.0 * smallest))
        if alpha is None or not low <= alpha <= high or 2 * drawn > _MAX_RESAMPLES:
            return OmnibusResult(
                smallest, max(p, tasks.resolution) if p <= floor else p, drawn, ConfidenceInterval(low, high)
            )
        target = 2 * drawn


def _bounds(tasks: Tasks, smallest: float) -> Bounds:
    """Return where each statistic's own p-value reaches `smallest`."""
    level = smallest * (1.0 + _SLACK)
    if tasks.all_coins:
        heads = int(_binomial.critical_count(np.int64(tasks.total_coins), min(level, 1.0)))
        pooled = 2.0 * heads - tasks.total_coins - 1.0
    else:
        pooled = tasks.pooled_law.critical(level) if tasks.pooled_law is not None else math.inf
    fisher = tasks.fisher_law.critical(level) if tasks.fisher_law is not None else math.inf
    return Bounds(pooled, fisher, _largest_bound(tasks, math.log(level)))


def _largest_bound(tasks: Tasks, log_level: float) -> float:
    """Return the smallest attainable maximum whose p-value is at most the level; inf if there is none."""
    points = np.unique(np.concatenate([null.values / null.sigma for null in tasks.nulls]))
    low, high = -1, points.size  # low fails, high reaches the level
    while high - low > 1:
        middle = (low + high) // 2
        if _rules.log_max(tasks.nulls, float(points[middle])) <= log_level:
            high = middle
        else:
            low = middle
    return float(points[high]) if high < points.size else math.inf
