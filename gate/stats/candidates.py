"""Several candidates against one baseline: p-values adjusted over the candidates, from signs that they share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.stats import _validate
from gate.stats._joint import IntArray, Patterns, at_least
from gate.stats._validate import RNG, FloatArray
from gate.stats.combine import RULES
from gate.stats.multiplicity import holm
from gate.stats.results import Rule

_MIN_RESAMPLES = 10_000
_NANOSECONDS = 2e9  # wanted time of all draws
_STANDARD_ERRORS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class StepDownResult:
    """Result of `max_over_candidates` or `step_down`.

    Attributes
    ----------
    statistic : ndarray of float, shape (candidates,)
        Standardised drop T_j, or the candidate's own p-value.
    pvalue : ndarray of float, shape (candidates,)
        Adjusted p-values. If candidates are rejected where it is at most alpha, the probability of any false
        rejection is at most alpha.
    n_resamples : int
        Sign patterns drawn.
    """

    statistic: FloatArray
    pvalue: FloatArray
    n_resamples: int


@dataclass(frozen=True, slots=True, eq=False)
class SharedUnits:
    """Differences of units (items, or clusters of items) that are independent of all other units.

    Attributes
    ----------
    differences : ndarray of float, shape (units, columns)
        Baseline minus candidate, summed within each unit; 0 for units that a column does not have.
    candidates : ndarray of int, shape (columns,)
        Candidate of each column; a column is one task of one candidate.
    scales : ndarray of float, shape (columns,)
        What the differences are divided by where tasks are pooled.
    """

    differences: FloatArray
    candidates: IntArray
    scales: FloatArray


def max_over_candidates(
    differences: Sequence[Sequence[float]] | FloatArray,
    clusters: Sequence[str] | Sequence[int] | NDArray[np.int64] | NDArray[np.str_] | None = None,
    *,
    n_resamples: int = 100_000,
    rng: RNG = None,
) -> StepDownResult:
    """Test of the largest standardised drop of several candidates, with step-down adjusted p-values.

    Parameters
    ----------
    differences : array of float, shape (items, candidates)
        Baseline score minus candidate score: positive where the candidate is worse.
    clusters : array of int or str, shape (items,), optional
        Cluster of each item; by default every item is its own cluster.
    n_resamples : int, default 100,000
        Sign patterns to draw.
    rng : int or numpy.random.Generator, optional
        Seed of the draws, or a generator that provides it; by default the seed is random.

    Returns
    -------
    StepDownResult
        `statistic` is T_j = sum_i D_ij / sqrt(sum_i D_ij**2), over clusters i.

    Notes
    -----
    One sign per cluster, shared by all candidates, keeps the dependence between them. The p-value of the
    candidate with the largest T is (1 + #{max_j T*_j >= T}) / (n_resamples + 1); the next one is compared with the
    maximum over the candidates that are left, and adjusted p-values never decrease (step-down). The family-wise
    error rate is exact where the differences of one item are jointly symmetric: (D_1, ..., D_J) as likely as
    (-D_1, ..., -D_J). Otherwise it is a large-sample result: the sign-flipped sums have the covariance of the
    observed ones, and each single one has its exact distribution.

    References
    ----------
    Westfall, Young (1993), Resampling-Based Multiple Testing, ch. 2. Romano, Wolf (2005), JASA 100, 94-108.

    Examples
    --------
    >>> import numpy as np
    >>> from gate.stats import max_over_candidates
    >>> worse = np.repeat([1.0, -1.0, 0.0], [30, 10, 160])
    >>> noise = np.repeat([1.0, -1.0, 0.0, -1.0, 1.0], [8, 7, 170, 7, 8])
    >>> result = max_over_candidates(np.stack([worse, noise], axis=1), rng=0)
    >>> result.statistic.round(2).tolist(), bool(result.pvalue[0] < 0.01 < 0.3 < result.pvalue[1])
    ([3.16, 0.37], True)
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(
            f"differences: expected one row per item and one column per candidate, found an array of shape "
            f"{values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"differences: expected finite numbers, found {values[~np.isfinite(values)][0]}")
    _validate.at_least("n_resamples", n_resamples, 1)
    if clusters is not None:
        groups = np.asarray(clusters)
        if groups.shape != values.shape[:1]:
            raise ValueError(f"clusters: expected one per item ({values.shape[0]}), found shape {groups.shape}")
        values = sums_of_units(values, np.unique(groups, return_inverse=True)[1])
    generator = np.random.Generator(np.random.SFC64(_validate.seed(rng)))
    sizes = np.sqrt(np.sum(values**2, axis=0))
    # a candidate that never differs has no statistic; it can never be rejected
    standardised = np.divide(
        Patterns.of(values).draw(n_resamples, generator), sizes, out=np.full((n_resamples + 1, sizes.size), -np.inf),
        where=sizes > 0.0,
    )  # fmt: skip
    order = np.argsort(-standardised[0], kind="stable")
    pvalue, largest, smallest_p = np.ones(sizes.size), np.full(n_resamples + 1, -np.inf), []
    for column in order[::-1]:
        largest = np.maximum(largest, standardised[:, column])
        smallest_p.append(float(np.mean(largest >= standardised[0, column] - 1e-9)))
    pvalue[order] = np.maximum.accumulate(smallest_p[::-1])
    return StepDownResult(np.where(sizes > 0.0, standardised[0], 0.0), pvalue, n_resamples)


def step_down(
    units: Sequence[SharedUnits],
    pvalues: Sequence[float] | FloatArray,
    rule: Rule = "omnibus",
    *,
    n_resamples: int = 200_000,
    rng: RNG = None,
) -> StepDownResult:
    """Adjust the p-values of a rule over several candidates, at margin 0.

    Parameters
    ----------
    units : sequence of SharedUnits
        Independent of each other, for example one per task.
    pvalues : array of float, shape (candidates,)
        Each candidate's own p-value, from `combine`.
    rule : {'omnibus', 'pooled', 'max', 'fisher', 'holm'}
        The rule that gave them.
    n_resamples : int, default 200,000
        Most sign patterns to draw; fewer where a draw takes long, but at least 10,000.
    rng : int or numpy.random.Generator, optional
        Seed of the draws, or a generator that provides it; by default the seed is random.

    Returns
    -------
    StepDownResult
        `statistic` holds the candidates' own p-values. One candidate alone keeps its own.

    Notes
    -----
    Westfall and Young's step-down min-P. Every draw has one sign per unit for all candidates and tasks. The draws,
    with the observed data as one more, give each candidate's rule a p-value in each draw: by its rank. (The omnibus
    rule takes the smallest of three such p-values, and that minimum is ranked again.) The adjusted p-value of the
    candidate with the smallest p is the share of draws in which the smallest p of any candidate is as small; for the
    next one, of any candidate that is left; and so on. The error rate is that of `max_over_candidates`.

    The exact min-P never exceeds Holm's adjustment of the candidates' own p-values, and is never below those. Both
    bounds are imposed on the drawn value, which matters where p is near 1 / (n_resamples + 1).

    References
    ----------
    Westfall, Young (1993), Resampling-Based Multiple Testing, ch. 2. Pesarin, Salmaso (2010), Permutation Tests for
    Complex Data, ch. 4.

    Examples
    --------
    >>> import numpy as np
    >>> from gate.stats import SharedUnits, mcnemar_exact, step_down
    >>> twice = np.repeat([1.0, -1.0], [14, 5])[:, None].repeat(2, axis=1)
    >>> units = SharedUnits(twice, np.array([0, 1]), np.ones(2))
    >>> p = mcnemar_exact(14, 5).pvalue
    >>> bool(np.allclose(step_down([units], [p, p], rng=0).pvalue, p, atol=1e-3))  # the same candidate twice
    True
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected one of {', '.join(RULES)}, found {rule!r}")
    alone = _validate.pvalues("pvalues", pvalues)
    _validate.at_least("n_resamples", n_resamples, 1)
    if alone.size == 1:
        return StepDownResult(alone, alone.copy(), 0)
    patterns = [Patterns.of(block.differences) for block in units]
    cost = sum(block.cost for block in patterns) + 300.0 * alone.size
    draws = min(n_resamples, max(_MIN_RESAMPLES, int(_NANOSECONDS / cost)))
    ranks = _ranks(units, patterns, alone.size, rule, draws, _validate.seed(rng))
    order = np.lexsort((alone, ranks[0]))
    shares = [_share(ranks, order[step:].tolist(), int(ranks[0, first])) for step, first in enumerate(order.tolist())]
    drawn = np.empty(alone.size)
    drawn[order] = np.maximum.accumulate(shares)
    return StepDownResult(alone, np.maximum(alone, np.minimum(drawn, holm(alone))), draws)


def _share(ranks: IntArray, candidates: Sequence[int], observed: int) -> float:
    """Return the share of draws in which any of the candidates is as extreme as the observed rank.

    Equal p-values of discrete data have ranks that differ by the error of the draws: the first attainable rank above
    the observed one counts as equal if it is that near.
    """
    total = ranks.shape[0]
    error = _STANDARD_ERRORS * math.sqrt(observed * (1.0 - observed / total))
    extreme = np.zeros(total, dtype=np.bool_)
    for candidate in candidates:
        own = ranks[:, candidate]
        above = own[own >= observed]
        nearest = int(above.min()) if above.size else observed
        extreme |= own <= (nearest if nearest - observed <= error else observed)
    return float(np.mean(extreme))


def sums_of_units(values: FloatArray, units: IntArray) -> FloatArray:
    """Return the sums over the rows of each unit; sums within rounding of zero are zero.

    Parameters
    ----------
    values : array of float, shape (rows, columns)
    units : array of int, shape (rows,)
        Unit of each row, numbered from 0.

    Returns
    -------
    ndarray of float, shape (units, columns)
    """
    size = int(units.max(initial=-1)) + 1
    columns = [np.bincount(units, column, size) for column in values.T]
    rounding = [1e-12 * np.bincount(units, np.abs(column), size) for column in values.T]
    sums = np.stack(columns, axis=1)
    return np.where(np.abs(sums) <= np.stack(rounding, axis=1), 0.0, sums)


def _ranks(
    units: Sequence[SharedUnits], patterns: Sequence[Patterns], candidates: int, rule: Rule, draws: int, seed: int
) -> IntArray:
    """Return, for each draw and candidate, how many draws are as extreme by the rule; row 0 is the data."""
    shape = (draws + 1, candidates)
    total, largest = np.zeros(shape), np.full(shape, -np.inf)
    cost, deepest = np.zeros(shape), np.zeros(shape)
    for number, (block, drawn) in enumerate(zip(units, patterns, strict=True)):
        generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, number])))
        sums = drawn.draw(draws, generator)
        sigmas = np.sqrt(np.sum(block.differences**2, axis=0))
        for column, candidate in enumerate(block.candidates.tolist()):
            if sigmas[column] == 0.0:
                continue
            values = sums[:, column]
            total[:, candidate] += values / block.scales[column]
            largest[:, candidate] = np.maximum(largest[:, candidate], values / sigmas[column])
            if rule in ("omnibus", "fisher", "holm"):
                costs = math.log(draws + 1) - np.log(at_least(values))
                cost[:, candidate] += costs
                deepest[:, candidate] = np.maximum(deepest[:, candidate], costs)
    statistics = {"pooled": total, "max": largest, "fisher": cost, "holm": deepest}
    ranks = np.empty(shape, dtype=np.int64)
    for candidate in range(candidates):
        if rule != "omnibus":
            ranks[:, candidate] = at_least(statistics[rule][:, candidate])
            continue
        smallest = np.min([at_least(statistics[one][:, candidate]) for one in ("pooled", "max", "fisher")], axis=0)
        ranks[:, candidate] = at_least(-smallest.astype(np.float64))
    return ranks
