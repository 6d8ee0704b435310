"""Certification: proof that the mean drop over the gating tasks is below a bound (non-inferiority)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from gate.config import DecisionSettings
from gate.decision.result import Certification, CertificationTest
from gate.decision.rows import Judged
from gate.decision.sensitivity import EXPECTED_FLIPS
from gate.samples import PairedTask
from gate.samples.pairing import FloatArray
from gate.stats import pooled_noninferiority


def certify(gating: Sequence[Judged], settings: DecisionSettings) -> Certification | None:
    """Test H0 "the mean drop over all items is at least `settings.certify`"; None where `certify` is not set.

    Notes
    -----
    Independent binary items: the exact unconditional test on the pooled counts (`pooled_noninferiority`). Otherwise,
    with D the difference of an item and u = sum(D - d) over the items of a cluster (one item where there are no
    clusters), z = sum(u) / sqrt(sum(u**2)) is referred to the normal distribution: a large-sample test. The variance
    is taken at the bound d, and is never below the smallest variance of scores from 0 to 1 with that mean drop, so that
    a run without flips proves nothing by itself. Both test the mean drop over all items: a single task may have
    dropped by more.
    """
    bound = settings.certify
    if bound is None:
        return None
    pairs = [task.pair for task in gating]
    n = sum(pair.n for pair in pairs)
    if all(task.evidence.is_binary for task in gating):
        test: CertificationTest = "exact unconditional"
        b, c = [pair.regressions for pair in pairs], [pair.improvements for pair in pairs]
        p = pooled_noninferiority(b, c, [pair.n for pair in pairs], bound).pvalue
    else:
        test = "large-sample score"
        sums = np.concatenate([_cluster_sums(pair, bound) for pair in pairs])
        sizes = np.concatenate([_cluster_sizes(pair) for pair in pairs])
        # scores from 0 to 1 with a mean drop of d have a variance of at least d (1 - d) per item
        variance = max(float(np.dot(sums, sums)), float(np.dot(sizes, sizes)) * bound * (1.0 - bound))
        p = float(ndtr(sums.sum() / math.sqrt(variance)))
    certified = p <= settings.alpha
    needed = None if certified else _items_needed(pairs, n, bound, settings)
    return Certification(margin=bound, p_value=p, certified=certified, items_needed=needed, test=test)


def _cluster_sums(pair: PairedTask, bound: float) -> FloatArray:
    """Return the sum of (difference - bound) per cluster, or per item where there are no clusters."""
    excess = pair.baseline_score - pair.candidate_score - bound
    return excess if pair.clusters is None else np.bincount(pair.clusters, excess).astype(np.float64)


def _cluster_sizes(pair: PairedTask) -> FloatArray:
    return np.ones(pair.n) if pair.clusters is None else np.bincount(pair.clusters).astype(np.float64)


def _items_needed(pairs: Sequence[PairedTask], n: int, bound: float, settings: DecisionSettings) -> int:
    """Return the items for the wanted power at a true drop of 0 and the observed variance (normal approximation)."""
    observed = sum(float(np.square(_cluster_sums(pair, 0.0)).sum()) for pair in pairs) / n
    # few observed differences do not prove a small variance: assume at least ten flips, and one per `bound` items
    variance = max(observed, min(1.0, EXPECTED_FLIPS / n), bound)
    z = float(ndtri(1 - settings.alpha) + ndtri(settings.power))
    return math.ceil(variance * (z / bound) ** 2)
