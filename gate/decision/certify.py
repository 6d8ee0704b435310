"""Certification: proof that the mean drop over the gating tasks is below a bound (non-inferiority)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from gate.config import DecisionSettings
from gate.decision.result import Certification
from gate.decision.rows import EXPECTED_FLIPS, Judged
from gate.samples import PairedTask
from gate.samples.pairing import FloatArray
from gate.stats import noninferiority


def certify(gating: Sequence[Judged], settings: DecisionSettings) -> Certification | None:
    """Test H0 "the mean drop over all items is at least `settings.certify`"; None where `certify` is not set.

    Notes
    -----
    Independent binary items: Tango's score test on the pooled counts. Otherwise, with D the difference of an item and
    u = sum(D - d) over the items of a cluster (one item where there are no clusters), z = sum(u) / sqrt(sum(u**2)) is
    referred to the normal distribution. The variance is taken at the bound d, and is never below the smallest variance
    of scores from 0 to 1 with that mean drop, so that a run without flips proves nothing by itself. Both are
    large-sample tests of the mean drop over all items: a single task may have dropped by more.
    """
    bound = settings.certify
    if bound is None:
        return None
    pairs = [task.pair for task in gating]
    n = sum(pair.n for pair in pairs)
    if all(task.evidence.is_binary for task in gating):
        b, c = sum(pair.regressions for pair in pairs), sum(pair.improvements for pair in pairs)
        p = noninferiority(b, c, n, bound).pvalue
    else:
        sums = np.concatenate([_cluster_sums(pair, bound) for pair in pairs])
        sizes = np.concatenate([_cluster_sizes(pair) for pair in pairs])
        # scores from 0 to 1 with a mean drop of d have a variance of at least d (1 - d) per item
        variance = max(float(np.dot(sums, sums)), float(np.dot(sizes, sizes)) * bound * (1.0 - bound))
        p = float(ndtr(sums.sum() / math.sqrt(variance)))
    certified = p <= settings.alpha
    needed = None if certified else _items_needed(pairs, n, bound, settings)
    return Certification(margin=bound, p_value=p, certified=certified, items_needed=needed)


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
