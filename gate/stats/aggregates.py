"""Several binary tasks, one p-value: pooled, largest drop, Fisher's combination, and the three as one test.

Each function is `combine` for counts, at margin 0 and without the other rules.
"""

import numpy as np

from gate.stats import _omnibus, _validate
from gate.stats._rules import Tasks
from gate.stats._validate import RNG, Counts
from gate.stats.evidence import Evidence
from gate.stats.results import AggregateResult, OmnibusResult


def pooled(b: int | Counts, c: int | Counts) -> AggregateResult:
    """Exact one-sided McNemar test on the summed counts.

    Parameters
    ----------
    b, c : int or integer array, shape (tasks,)
        Regressions and improvements of each task; at least one task.

    Returns
    -------
    AggregateResult
        `statistic` is sum b - sum c, `pvalue` is P[Bin(sum b + sum c, 1/2) >= sum b].

    Notes
    -----
    Exact for independent items. The most powerful of the aggregates against a small drop on every task; weak
    against a drop on one task among many.

    References
    ----------
    Kübler et al. (2026), arXiv:2602.10144.

    Examples
    --------
    >>> from gate.stats import pooled
    >>> f"{pooled([68, 86, 45], [18, 43, 37]).pvalue:.4g}"
    '2.341e-09'
    """
    return _tasks(b, c).pooled


def max_drop(b: int | Counts, c: int | Counts) -> AggregateResult:
    """Test of the largest standardised drop, exact given the discordant counts. Parameters as for `pooled`.

    Returns
    -------
    AggregateResult
        `statistic` is the largest T_k = (b_k - c_k) / sqrt(b_k + c_k), `pvalue` is P[max_k T_k >= statistic].

    Notes
    -----
    The p-value is 1 - prod_k P[T_k < statistic] with b_k ~ Bin(m_k, 1/2) and independent tasks; no normal
    approximation. Statistics within 1e-11 of each other count as ties. Tasks without discordant items are left
    out. The most powerful aggregate against a drop on one task.

    References
    ----------
    Kübler et al. (2026), arXiv:2602.10144. Tippett (1931), The Methods of Statistics.

    Examples
    --------
    >>> from gate.stats import max_drop
    >>> f"{max_drop([68, 86, 45], [18, 43, 37]).pvalue:.4g}"
    '5.047e-08'
    """
    return _tasks(b, c).max_drop


def fisher(b: int | Counts, c: int | Counts) -> AggregateResult:
    """Fisher's combination of the exact McNemar p-values, with its exact null law. Parameters as for `pooled`.

    Returns
    -------
    AggregateResult
        `statistic` is X = -2 sum_k ln p_k, `pvalue` is P[X* >= X] given the discordant counts.

    Notes
    -----
    Valid for independent tasks. The chi-square reference is conservative for discrete p-values: (5, 14) (9, 6)
    (7, 3) (12, 9) give .4207 by it and .2542 exactly. Up to a million outcomes are enumerated. Beyond that the
    distributions of ln p_k are convolved on a grid with -ln p_k rounded up, so the result is never below the
    exact value. It exceeds it by less than 0.5 % at ordinary levels, and by a few per cent below 1e-9, where an
    exponentially tilted convolution keeps the relative precision. Where X > 1000 the chi-square bound is
    returned.

    References
    ----------
    Fisher (1932), Statistical Methods for Research Workers, 4th ed. Lancaster (1949), Biometrika 36, 370-382
    (discrete distributions).

    Examples
    --------
    >>> from gate.stats import fisher
    >>> round(fisher([5, 9, 7, 12], [14, 6, 3, 9]).pvalue, 3)
    0.254
    """
    return _tasks(b, c).fisher


def omnibus(
    b: int | Counts,
    c: int | Counts,
    *,
    n_resamples: int = 1_000_000,
    rng: RNG = None,
    alpha: float | None = None,
) -> OmnibusResult:
    """Omnibus test of a degradation on any task: pooled, max and Fisher under one error rate.

    Parameters
    ----------
    b, c : int or integer array, shape (tasks,)
        As for `pooled`.
    n_resamples : int, default 1,000,000
        Draws from the joint null distribution.
    rng : int or numpy.random.Generator, optional
        Seed of the draws, or a generator that provides it; by default the seed is random. The order of the
        tasks does not affect the result.
    alpha : float, optional
        If given, the number of draws is doubled until the 99.9 % interval of the p-value excludes `alpha`, or
        2**24 draws are reached.

    Returns
    -------
    OmnibusResult
        `statistic` is x = min(p_pooled, p_max, p_fisher), `pvalue` is (1 + hits) / (n_resamples + 1) or the
        exact probability P0[x* <= x].

    Notes
    -----
    Given the discordant counts m_k, b_k* ~ Bin(m_k, 1/2) independently under the null, so the law of the
    minimum x* is known, and rejecting at P0[x* <= x] <= alpha has size at most alpha. Each of the three
    p-values decreases as its statistic increases. A draw is therefore a hit if any statistic passes the bound at
    which its own p-value reaches x; values within rounding of the bound are hits. Up to a million outcomes are
    enumerated, and a single task is exact. Where x < 1e-9 no draw is made: p = max(1 / (n_resamples + 1), 3 x),
    which is valid by the union bound.

    References
    ----------
    Pesarin, Salmaso (2010), Permutation Tests for Complex Data, ch. 4 (nonparametric combination).

    Examples
    --------
    >>> from gate.stats import omnibus
    >>> round(omnibus([5, 9, 7, 12], [14, 6, 3, 9]).pvalue, 3)
    0.331
    """
    tasks = _tasks(b, c)
    _validate.at_least("n_resamples", n_resamples, 1)
    return _omnibus.omnibus(tasks, n_resamples, _validate.seed(rng), alpha)


def _tasks(b: int | Counts, c: int | Counts) -> Tasks:
    regressions, improvements = map(np.atleast_1d, _validate.pair(b, c))
    if regressions.ndim > 1 or regressions.size == 0:
        raise ValueError(
            f"b and c: expected at least one task and one count per task, found arrays of shape {regressions.shape}"
        )
    return Tasks.of([Evidence.from_counts(*counts) for counts in zip(regressions, improvements, strict=True)])
