"""The aggregates over tasks that share clusters: one sign per cluster, in all tasks at once."""

import math
from collections.abc import Sequence

import numpy as np

from gate.stats import _binomial
from gate.stats._nulls import TIE
from gate.stats._validate import FloatArray
from gate.stats.evidence import Evidence
from gate.stats.links import Links
from gate.stats.multiplicity import holm
from gate.stats.results import AggregateResult, ConfidenceInterval, OmnibusResult

_MAX_RESAMPLES = 200_000
_MIN_RESAMPLES = 10_000
_WORK = 4e8  # random numbers drawn for the shared clusters
_CHUNK = 1_000_000
_SLACK = 1e-9
_CONFIDENCE_LEVEL = 0.999


def aggregates(
    evidences: Sequence[Evidence],
    links: Links,
    margins: Sequence[float],
    pvalues: FloatArray,
    n_resamples: int,
    seed: int,
) -> tuple[AggregateResult, AggregateResult, AggregateResult, OmnibusResult]:
    """Return the results of pooled, max, Fisher and omnibus.

    Notes
    -----
    margins = 0: the signs of all clusters are drawn jointly, so that each draw has all tasks' statistics. A p-value is
    the rank of the data among the data and the draws, and omnibus is the rank of the smallest of the three (Pesarin,
    Salmaso 2010, ch. 4): all are valid for any number of draws. Pooled is exact where the sign-flip test of the
    clusters' sums is. Where no draw is as extreme as the data, a p-value is the smaller of 1 / (draws + 1) and a bound
    that holds for dependent tasks: Bonferroni's for max, K exp(-X / 2K) for Fisher's X, and the union bound for
    omnibus.

    margins > 0: pooled is the score test on the clusters' sums. Max and Fisher are replaced by Bonferroni's smallest
    p-value, because their reference distributions need independent tasks; omnibus is the union bound of the two.
    """
    bonferroni = float(holm(pvalues).min())
    if any(margins):
        pooled = _pooled_at(evidences, links, margins)
        largest = AggregateResult(float(pvalues.min()), bonferroni)
        p = min(1.0, 2.0 * min(pooled.pvalue, bonferroni))
        omnibus = OmnibusResult(min(pooled.pvalue, bonferroni), p, 0, ConfidenceInterval(p, p))
        return pooled, largest, largest, omnibus
    pooled = _pooled(evidences, links)
    active = [k for k, evidence in enumerate(evidences) if evidence.discordant]
    if not active:
        one = AggregateResult(0.0, 1.0)
        return pooled, one, one, OmnibusResult(1.0, 1.0, 0, ConfidenceInterval(1.0, 1.0))
    statistics = _draw(evidences, links, active, n_resamples, seed)
    ranks = [_ranks(values) for values in _three(evidences, active, statistics)]
    n = len(statistics)
    observed = [AggregateResult(float(values[0]), float(rank[0])) for values, rank in ranks]
    largest = _floored(observed[1], n, bonferroni)
    fisher = _floored(
        AggregateResult(2.0 * observed[2].statistic, observed[2].pvalue),
        n,
        len(active) * math.exp(-observed[2].statistic / len(active)),
    )
    smallest = np.minimum.reduce([rank for _, rank in ranks])
    hits = int(np.count_nonzero(smallest <= smallest[0] * (1.0 + _SLACK)))
    low, high = _binomial.clopper_pearson(np.int64(hits - 1), np.int64(n - 1), _CONFIDENCE_LEVEL)
    least = min(pooled.pvalue, largest.pvalue, fisher.pvalue)
    p = _floored(AggregateResult(least, hits / n), n, 3.0 * least).pvalue
    return pooled, largest, fisher, OmnibusResult(least, p, n - 1, ConfidenceInterval(min(float(low), p), float(high)))


def _floored(result: AggregateResult, n: int, bound: float) -> AggregateResult:
    """Return the result with a bound as its p-value, where no draw was as extreme and the bound is smaller."""
    if result.pvalue * n > 1.5 or bound >= result.pvalue:
        return result
    return AggregateResult(result.statistic, bound)


def _pooled(evidences: Sequence[Evidence], links: Links) -> AggregateResult:
    values = [part / evidence.scale for part, evidence in zip(links.differences, evidences, strict=True)]
    pooled = Evidence.from_differences(np.concatenate(values), links.clusters, rng=0)
    return AggregateResult(math.fsum(evidence.statistic for evidence in evidences), pooled.pvalue)


def _pooled_at(evidences: Sequence[Evidence], links: Links, margins: Sequence[float]) -> AggregateResult:
    """Test the mean drop against the mean margin over all items, which it cannot exceed if no task exceeds its own."""
    sizes = [len(values) for values in links.differences]
    margin = math.fsum(own * size for own, size in zip(margins, sizes, strict=True)) / sum(sizes)
    span = max(evidence.span for evidence in evidences)
    pooled = Evidence.from_differences(np.concatenate(links.differences), links.clusters, rng=0, span=span)
    score = pooled.margin_score(margin)
    z = score.distance / math.sqrt(score.variance) if score.variance > 0.0 else 0.0
    return AggregateResult(z, pooled.pvalue_at(margin))


def _draw(
    evidences: Sequence[Evidence], links: Links, active: Sequence[int], n_resamples: int, seed: int
) -> FloatArray:
    """Return the statistics of the active tasks: the observed ones in the first row, then one row per joint draw."""
    patterns = links.patterns[:, active]
    limit = int(_WORK / max(1, len(patterns)))
    draws = min(n_resamples, _MAX_RESAMPLES, max(limit, _MIN_RESAMPLES))
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, len(active), draws])))
    statistics = np.zeros((draws + 1, len(active)))
    drawn = statistics[1:]
    for column, task in enumerate(active):
        own, null = links.own[task], links.own[task].null
        if own.discordant:
            distribution = np.cumsum(null.pmf)
            index = np.searchsorted(distribution, distribution[-1] * generator.random(draws), side="right")
            drawn[:, column] = null.values[np.minimum(index, null.values.size - 1)] * own.scale
    step = max(1, _CHUNK // draws)
    for start in range(0, len(patterns), step):
        counts = links.counts[start : start + step]
        signs = 2.0 * generator.binomial(counts, 0.5, (draws, len(counts))) - counts
        drawn += signs @ patterns[start : start + step]
    for column, task in enumerate(active):
        drawn[:, column] /= evidences[task].scale
        statistics[0, column] = evidences[task].statistic
    return statistics


def _three(evidences: Sequence[Evidence], active: Sequence[int], statistics: FloatArray) -> list[FloatArray]:
    """Return pooled, largest standardised drop and Fisher's -sum(ln p) of every row."""
    largest, cost = np.full(len(statistics), -np.inf), np.zeros(len(statistics))
    for column, task in enumerate(active):
        null, values = evidences[task].null, statistics[:, column]
        largest = np.maximum(largest, values / null.sigma)
        index = np.searchsorted(null.values, values - TIE * (null.sigma + np.abs(values)), side="left")
        cost += null.costs[np.minimum(index, null.values.size - 1)]
    return [statistics.sum(axis=1), largest, cost]


def _ranks(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the values and the share of all values that are at least as large, ties within rounding included."""
    ordered = np.sort(values)
    slack = _SLACK * (1.0 + np.abs(values))
    return values, (len(values) - np.searchsorted(ordered, values - slack, side="left")) / len(values)
