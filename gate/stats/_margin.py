"""Rules over tasks at a tolerated margin: large-sample results, bounded by the exact tests at 0."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from gate.stats import _rules, _sums
from gate.stats._validate import FloatArray
from gate.stats.evidence import Evidence
from gate.stats.intervals import margin_test
from gate.stats.omnibus import Simulated

_CHUNK = 20_000


def task_p(evidence: Evidence, margin: float) -> float:
    """P-value of "the drop of this task is at most `margin`"."""
    if evidence.is_binary and evidence.n is not None:
        b, c = evidence.counts
        return margin_test(b, c, max(evidence.n, 1), margin)
    return max(evidence.p_value, _upper(*evidence.margin_score(margin)))


def _upper(distance: float, variance: float) -> float:
    z = distance / math.sqrt(variance) if variance > 0.0 else 0.0
    return float(special.ndtr(-z))


def combine(
    evidences: Sequence[Evidence], margin: float, raw: FloatArray, draws: int, seed: int
) -> tuple[float, float, float, Simulated]:
    """P-values of pooled, max, Fisher and omnibus."""
    scores = [e.margin_score(margin) for e in evidences]
    variances = np.array([variance for _, variance in scores])
    if all(e.is_binary for e in evidences):
        b, c = (sum(column) for column in zip(*(e.counts for e in evidences), strict=True))
        pooled = margin_test(b, c, sum(e.n or 0 for e in evidences), margin)
    else:
        tasks = _rules.from_evidence(evidences)
        exact = math.exp(_rules.log_pooled(tasks, _rules.pooled_law(tasks)))
        pooled = max(exact, _upper(math.fsum(distance for distance, _ in scores), float(variances.sum())))
    with np.errstate(divide="ignore"):
        logs = np.log(raw)
    largest = math.exp(_rules.log_any(np.full(raw.size, logs.min())))
    fisher = math.exp(_sums.gamma_log_sf(raw.size, -float(logs.sum()))) if np.isfinite(logs).all() else 0.0
    smallest = min(pooled, largest, fisher)
    return pooled, largest, fisher, null_probability(variances, smallest, draws, seed)


def null_probability(variances: FloatArray, smallest: float, draws: int, seed: int) -> Simulated:
    """P[the smallest of three p-values <= smallest] for independent standard normal scores."""
    tasks = variances.size
    if tasks == 1 or smallest >= 1.0:
        return Simulated(smallest, 0, smallest, smallest)
    weights = np.sqrt(variances / variances.sum()) if variances.sum() > 0.0 else np.full(tasks, tasks**-0.5)
    pooled_bound = -float(special.ndtri(smallest))
    largest_bound = -float(special.ndtri(-math.expm1(math.log1p(-smallest) / tasks)))
    fisher_bound = float(special.gammainccinv(tasks, smallest)) if smallest > 0.0 else math.inf
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, tasks])))
    hits = 0
    for start in range(0, draws, _CHUNK):
        z = generator.standard_normal((min(_CHUNK, draws - start), tasks))
        hit = (z @ weights >= pooled_bound) | (z.max(axis=1) >= largest_bound)
        hit |= -special.log_ndtr(-z).sum(axis=1) >= fisher_bound
        hits += int(np.count_nonzero(hit))
    p = (1 + hits) / (draws + 1)
    spread = 3.3 * math.sqrt(p * (1.0 - p) / draws)
    return Simulated(p, draws, max(0.0, p - spread), min(1.0, p + spread))
