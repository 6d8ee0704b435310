"""Could any outcome of this run be significant? If not, a PASS would say nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gate.config import DecisionSettings
from gate.decision import wording
from gate.decision.dependence import links_of, units_over_tasks
from gate.decision.finding import Finding
from gate.decision.rows import Judged
from gate.samples import PairedTask
from gate.stats import Evidence, combine

_RESAMPLES = 1_000


def blind(gating: Sequence[Judged], policy: DecisionSettings, alpha: float) -> list[Finding]:
    """Return a finding if no outcome could be significant.

    Every rule's p-value is at least 2**-N, where N is the number of independent units that can get worse. At a
    margin, it is at least that of a candidate that loses everything which the baseline has.
    """
    count = _able(gating)
    items = wording.count(sum(task.pair.n for task in gating), "item")
    if -count * math.log(2.0) > math.log(alpha):
        return [
            _finding(
                f"{wording.count(count, 'independent item')} of {items} can get worse (clusters and equal prompts "
                "count once)",
                2.0**-count,
                alpha,
                "Use more items.",
            )
        ]
    margins = [task.margin(policy) for task in gating]
    if not any(margins):
        return []
    p = _smallest_pvalue(gating, margins, policy)
    if p <= alpha:
        return []
    score = sum(float(task.pair.baseline_score.sum()) for task in gating if task.pair.unit == "proportion")
    known = sum(task.pair.n for task in gating if task.pair.unit == "proportion")
    return [
        _finding(
            f"even a loss of all that the baseline gets right ({wording.percent(score / known)} of {items}) is not "
            "significantly above the margin",
            p,
            alpha,
            "Use a smaller margin or more items.",
        )
    ]


def _able(gating: Sequence[Judged]) -> int:
    """Return the number of independent units that can get worse."""
    able = [
        task.pair.baseline_score > 0.0 if task.pair.unit == "proportion" else np.ones(task.pair.n, dtype=np.bool_)
        for task in gating
    ]
    if all(task.pair.clusters is None and task.pair.shared is None for task in gating):
        return sum(int(np.count_nonzero(own)) for own in able)
    units = units_over_tasks([task.pair for task in gating])
    return len(np.unique(np.concatenate([own[rows] for own, rows in zip(units, able, strict=True)])))


def _finding(why: str, p: float, alpha: float, advice: str) -> Finding:
    return Finding(
        kind="blind",
        message=f"The run is blind: {why}, so that p is at least {p:.3g} whatever the candidate answers, and alpha is "
        f"{alpha:.3g}. {advice}",
        blocks=True,
    )


def _smallest_pvalue(gating: Sequence[Judged], margins: Sequence[float], policy: DecisionSettings) -> float:
    """Return the p-value of a candidate that loses everything."""
    pairs = [_lost(task.pair) for task in gating]
    evidences = [
        Evidence.from_counts(int(pair.baseline_score.sum()), 0, pair.n)
        if task.evidence.is_binary
        else Evidence.from_differences(pair.baseline_score, pair.clusters, n_resamples=_RESAMPLES, rng=0, span=1.0)
        for task, pair in zip(gating, pairs, strict=True)
    ]
    links = links_of(pairs, 0, margin=True)
    return combine(evidences, policy.rule, margin=margins, n_resamples=_RESAMPLES, rng=0, links=links).pvalue


def _lost(pair: PairedTask) -> PairedTask:
    """Return a task on which the candidate scores 0; scores of unknown range, which have no margin, are 1 less."""
    scores = pair.baseline_score if pair.unit == "proportion" else np.ones(pair.n)
    return replace(pair, baseline_score=scores, candidate_score=np.zeros(pair.n))
