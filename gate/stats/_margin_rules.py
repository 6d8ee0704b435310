"""The aggregates at a tolerated margin, from p-values of the tasks that are valid one by one."""

import math
from collections.abc import Sequence

import numpy as np

from gate.stats import _omnibus, _pooling, _rules, _sums, _tango
from gate.stats._rules import Tasks
from gate.stats._score import Score
from gate.stats._unconditional import SMALLEST
from gate.stats._validate import FloatArray
from gate.stats.evidence import Evidence
from gate.stats.results import AggregateResult, OmnibusResult


def aggregates(
    evidences: Sequence[Evidence], margins: Sequence[float], pvalues: FloatArray
) -> tuple[AggregateResult, AggregateResult, AggregateResult, OmnibusResult]:
    """Return the results of pooled, max, Fisher and omnibus from the tasks' own p-values at their margins."""
    logs = np.log(np.maximum(pvalues, SMALLEST))
    pooled = _pooled(evidences, margins, float(pvalues[0]))
    largest = AggregateResult(float(pvalues.min()), math.exp(_rules.log_any(np.full(logs.size, logs.min()))))
    cost = -float(logs.sum())
    fisher = AggregateResult(2.0 * cost, math.exp(_sums.gamma_log_sf(logs.size, cost)))
    smallest = min(pooled.pvalue, largest.pvalue, fisher.pvalue)
    several = 1.0 if len(evidences) == 1 else 3.0
    omnibus = _omnibus.exact(smallest, min(1.0, max(several * smallest, SMALLEST)))
    return pooled, largest, fisher, omnibus


def _pooled(evidences: Sequence[Evidence], margins: Sequence[float], first: float) -> AggregateResult:
    """Test the pooled drop against the mean margin over all items; if no task exceeds its own, it does not either."""
    scores = [e.margin_score(margin) for e, margin in zip(evidences, margins, strict=True)]
    total = sum(scores, Score(0.0, 0.0, 0.0))
    z = total.distance / math.sqrt(total.variance) if total.variance > 0.0 else 0.0
    if len(evidences) == 1:
        return AggregateResult(z, first)
    if not all(e.is_binary for e in evidences):
        return AggregateResult(z, max(Tasks.of(evidences).pooled.pvalue, total.upper_pvalue))
    b, c = (np.array(column) for column in zip(*(e.counts for e in evidences), strict=True))
    n = np.array([e.n or 0 for e in evidences])
    if not n.any():
        return AggregateResult(0.0, 1.0)
    margin = float(np.dot(n, margins) / n.sum())
    z = float(_tango.score_z(b.sum(), c.sum(), n.sum(), np.array(margin)))
    return AggregateResult(z, _pooling.worse_pvalue(b, c, n, margin))
