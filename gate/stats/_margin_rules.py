"""The aggregates at a tolerated margin: large-sample tests, bounded below by the exact tests at 0."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from gate.stats import _omnibus, _rules, _sums, _tango
from gate.stats._rules import Tasks
from gate.stats._validate import FloatArray
from gate.stats.evidence import Evidence
from gate.stats.margin import margin_test
from gate.stats.results import AggregateResult, ConfidenceInterval, OmnibusResult

_CHUNK = 20_000
_MAX_RESAMPLES = 200_000


def aggregates(
    evidences: Sequence[Evidence], margins: Sequence[float], pvalues: FloatArray, n_resamples: int, seed: int
) -> tuple[AggregateResult, AggregateResult, AggregateResult, OmnibusResult]:
    """Return the results of pooled, max, Fisher and omnibus from the tasks' own p-values at their margins."""
    scores = [e.margin_score(margin) for e, margin in zip(evidences, margins, strict=True)]
    variances = np.array([variance for _, variance in scores])
    pooled = _pooled(evidences, margins, math.fsum(distance for distance, _ in scores), float(variances.sum()))
    cost = math.inf
    with np.errstate(divide="ignore"):
        logs = np.log(pvalues)
    largest = AggregateResult(float(pvalues.min()), math.exp(_rules.log_any(np.full(logs.size, logs.min()))))
    fisher_p = 0.0
    if np.isfinite(logs).all():
        cost = -float(logs.sum())
        fisher_p = math.exp(_sums.gamma_log_sf(logs.size, cost))
    fisher = AggregateResult(2.0 * cost, fisher_p)
    smallest = min(pooled.pvalue, largest.pvalue, fisher.pvalue)
    omnibus = normal_omnibus(variances, smallest, min(n_resamples, _MAX_RESAMPLES), seed)
    return pooled, largest, fisher, omnibus


def _pooled(
    evidences: Sequence[Evidence], margins: Sequence[float], distance: float, variance: float
) -> AggregateResult:
    """Test the pooled drop against the mean margin over all items, which it cannot exceed if no task exceeds its own."""
    if all(e.is_binary for e in evidences):
        b, c = (sum(column) for column in zip(*(e.counts for e in evidences), strict=True))
        n = sum(e.n or 0 for e in evidences)
        tolerated = math.fsum(margin * (e.n or 0) for e, margin in zip(evidences, margins, strict=True)) / max(n, 1)
        result = margin_test(b, c, n, tolerated)
        return AggregateResult(result.statistic, result.pvalue)
    at_zero = Tasks.of(evidences).pooled.pvalue
    z = distance / math.sqrt(variance) if variance > 0.0 else 0.0
    return AggregateResult(z, max(at_zero, _tango.upper_pvalue(distance, variance)))


def normal_omnibus(variances: FloatArray, smallest: float, n_resamples: int, seed: int) -> OmnibusResult:
    """Return P[the smallest of three p-values <= smallest] for independent standard normal scores."""
    tasks = variances.size
    if tasks == 1 or smallest >= 1.0:
        return _omnibus.exact(smallest, smallest)
    weights = np.sqrt(variances / variances.sum()) if variances.sum() > 0.0 else np.full(tasks, tasks**-0.5)
    pooled_bound = -float(special.ndtri(smallest))
    largest_bound = -float(special.ndtri(-math.expm1(math.log1p(-smallest) / tasks)))
    fisher_bound = float(special.gammainccinv(tasks, smallest)) if smallest > 0.0 else math.inf
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, tasks])))
    hits = 0
    for start in range(0, n_resamples, _CHUNK):
        z = generator.standard_normal((min(_CHUNK, n_resamples - start), tasks))
        hit = (z @ weights >= pooled_bound) | (z.max(axis=1) >= largest_bound)
        hit |= -special.log_ndtr(-z).sum(axis=1) >= fisher_bound
        hits += int(np.count_nonzero(hit))
    p = (1 + hits) / (n_resamples + 1)
    spread = 3.3 * math.sqrt(p * (1.0 - p) / n_resamples)
    interval = ConfidenceInterval(max(0.0, p - spread), min(1.0, p + spread))
    return OmnibusResult(smallest, p, n_resamples, interval)
