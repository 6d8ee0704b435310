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


def too_small(gating: Sequence[Judged], alpha: float) -> list[Finding]:
    """Return a finding if there are too few independent units, whatever the baseline answers.

    Every rule's p-value is at least 2**-N, where N is the number of independent units that can get worse.
    """
    count, items = _units(gating), sum(task.pair.n for task in gating)
    needed = math.ceil(-math.log2(alpha))
    if count >= needed:
        return []
    if count == items:
        why = f"it has {wording.count(items, 'item')}"
    else:
        why = (
            f"its {wording.count(items, 'item')} count as {wording.count(count, 'independent item')}, because clusters "
            "and equal prompts count once"
        )
    return [_finding("is too small to show a loss", why, 2.0**-count, alpha, f"Use at least {needed:,} items.")]


def blind(gating: Sequence[Judged], policy: DecisionSettings, alpha: float) -> list[Finding]:
    """Return a finding if no outcome could be significant, because the baseline gets too little right.

    At a margin, the p-value is at least that of a candidate that loses everything which the baseline has.
    """
    count = _units(gating, able=True)
    items = wording.count(sum(task.pair.n for task in gating), "item")
    if -count * math.log(2.0) > math.log(alpha):
        why = (
            f"the baseline has something to lose on {wording.count(count, 'independent item')} of {items} (clusters "
            "and equal prompts count once)"
        )
        return [_finding("cannot show a loss", why, 2.0**-count, alpha, "Use more items.")]
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
            "cannot show a loss",
            f"even a loss of all that the baseline gets right ({wording.percent(score / known)} of {items}) is not "
            "significantly above the margin",
            p,
            alpha,
            "Use a smaller margin or more items.",
        )
    ]


def _units(gating: Sequence[Judged], able: bool = False) -> int:
    """Return the number of independent units; with `able`, of those that can get worse."""
    counted = [
        task.pair.baseline_score > 0.0
        if able and task.pair.unit == "proportion"
        else np.ones(task.pair.n, dtype=np.bool_)
        for task in gating
    ]
    if all(task.pair.clusters is None and task.pair.shared is None for task in gating):
        return sum(int(np.count_nonzero(own)) for own in counted)
    units = units_over_tasks([task.pair for task in gating])
    return len(np.unique(np.concatenate([own[rows] for own, rows in zip(units, counted, strict=True)])))


def _finding(what: str, why: str, p: float, alpha: float, advice: str) -> Finding:
    return Finding(
        kind="blind",
        message=f"The run {what}: {why}, so that p is at least {p:.3g} whatever the candidate answers, and alpha is "
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
