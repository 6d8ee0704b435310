"""Certification: proof that the mean drop over the gating tasks is below a bound (non-inferiority)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from gate.config import DecisionSettings
from gate.decision.dependence import units_over_tasks
from gate.decision.result import Certification, CertificationTest
from gate.decision.rows import Judged
from gate.decision.sensitivity import EXPECTED_FLIPS
from gate.samples import PairedTask
from gate.samples.scores import FloatArray
from gate.stats import pooled_noninferiority, required_n_certify


def certify(gating: Sequence[Judged], settings: DecisionSettings) -> Certification | None:
    """Test H0 "the mean drop over all items is at least `settings.certify`"; None where `certify` is not set.

    Notes
    -----
    Independent binary items: the exact unconditional test on the pooled counts (`pooled_noninferiority`). Otherwise,
    with D the difference of an item and u = sum(D - d) over the items of a cluster (one item where there are no
    clusters), z = sum(u) / sqrt(sum(u**2)) is referred to the normal distribution: a large-sample test. The variance
    is taken at the bound d, and is never below the smallest variance of scores from 0 to 1 with that mean drop, so that
    a run without flips proves nothing by itself. One further unit, of the size of the largest, is counted as wholly
    lost: large losses may be too rare to be seen. Without it the size reached .10 at a level of .05 (30 clusters whose
    items flip together); with it no simulated size exceeded the level (`benchmarks/results/calibration_margin.md`).
    Both test the mean drop over all items: a single task may have dropped by more.
    """
    bound = settings.certify
    if bound is None:
        return None
    pairs = [task.pair for task in gating]
    n = sum(pair.n for pair in pairs)
    if all(task.evidence.is_binary and task.pair.shared is None for task in gating):
        test: CertificationTest = "exact unconditional"
        b, c = [pair.regressions for pair in pairs], [pair.improvements for pair in pairs]
        p = pooled_noninferiority(b, c, [pair.n for pair in pairs], bound).pvalue
    else:
        test = "large-sample score"
        excess, sizes = _unit_sums(pairs, bound)
        conceded = float(sizes.max()) * (1.0 - bound)
        sums = np.append(excess, conceded)
        # scores from 0 to 1 with a mean drop of d have a variance of at least d (1 - d) per item
        variance = max(float(np.dot(sums, sums)), float(np.dot(sizes, sizes)) * bound * (1.0 - bound))
        p = float(ndtr(sums.sum() / math.sqrt(variance)))
    certified = p <= settings.alpha
    needed = None if certified else _items_needed(pairs, n, bound, settings)
    return Certification(margin=bound, p_value=p, certified=certified, items_needed=needed, test=test)


def _unit_sums(pairs: Sequence[PairedTask], bound: float) -> tuple[FloatArray, FloatArray]:
    """Return the sum of (difference - bound) and the items of each unit: a cluster, over all tasks, or an item."""
    excess = np.concatenate([pair.baseline_score - pair.candidate_score - bound for pair in pairs])
    if all(pair.clusters is None and pair.shared is None for pair in pairs):
        return excess, np.ones(len(excess))
    units = np.unique(np.concatenate(units_over_tasks(pairs)), return_inverse=True)[1]
    return np.bincount(units, excess).astype(np.float64), np.bincount(units).astype(np.float64)


def _items_needed(pairs: Sequence[PairedTask], n: int, bound: float, settings: DecisionSettings) -> int | None:
    """Return the items that would prove the bound with the wanted power; None where no number would be honest.

    Assumed are a true drop of 0 and the observed variance of the differences, but at least that of ten flips and of
    one flip per 1 / bound items, as few observed differences do not prove a small variance (normal approximation).
    There is no number where the observed drop is not below the bound, and where `n` items, which did not prove it,
    should have.
    """
    sums, _ = _unit_sums(pairs, 0.0)
    if float(sums.sum()) >= bound * n:
        return None
    observed = float(np.dot(sums, sums)) / n
    variance = max(observed, min(1.0, EXPECTED_FLIPS / n), bound)
    needed = required_n_certify(variance, bound, alpha=settings.alpha, power=settings.power)
    return needed if needed is not None and needed > n else None
