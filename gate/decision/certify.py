"""Certification: proof that the mean drop over the gating tasks is below a bound (non-inferiority)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gate.config import DecisionSettings
from gate.decision.dependence import units_over_tasks
from gate.decision.result import Certification, CertificationTest
from gate.decision.rows import Judged
from gate.decision.sensitivity import EXPECTED_FLIPS
from gate.samples import PairedTask
from gate.samples.scores import FloatArray
from gate.stats import pooled_noninferiority, required_n_certify, unit_noninferiority


def certify(gating: Sequence[Judged], settings: DecisionSettings) -> Certification | None:
    """Test H0 "the mean drop over all items is at least `settings.certify`"; None where `certify` is not set.

    Notes
    -----
    Independent binary items: the exact unconditional test on the pooled counts (`pooled_noninferiority`). Otherwise the
    large-sample score test of `unit_noninferiority` on clusters (or items), which counts one more unit as wholly lost:
    large losses may be too rare to be seen.
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
        sums, sizes = _unit_sums(pairs)
        p = unit_noninferiority(sums, sizes, bound)
    certified = p <= settings.alpha
    needed = None if certified else _items_needed(pairs, n, bound, settings)
    return Certification(margin=bound, p_value=p, certified=certified, items_needed=needed, test=test)


def _unit_sums(pairs: Sequence[PairedTask]) -> tuple[FloatArray, FloatArray]:
    """Return the summed difference and the items of each unit: a cluster, over all tasks, or an item."""
    sums = np.concatenate([pair.baseline_score - pair.candidate_score for pair in pairs])
    if all(pair.clusters is None and pair.shared is None for pair in pairs):
        return sums, np.ones(len(sums))
    units = np.unique(np.concatenate(units_over_tasks(pairs)), return_inverse=True)[1]
    return np.bincount(units, sums).astype(np.float64), np.bincount(units).astype(np.float64)


def _items_needed(pairs: Sequence[PairedTask], n: int, bound: float, settings: DecisionSettings) -> int | None:
    """Return the items that would prove the bound with the wanted power; None where no number would be honest.

    Assumed are a true drop of 0 and the observed variance of the differences, but at least that of ten flips and of
    one flip per 1 / bound items, as few observed differences do not prove a small variance (normal approximation).
    There is no number where the observed drop is not below the bound, and where `n` items, which did not prove it,
    should have.
    """
    sums, _ = _unit_sums(pairs)
    if float(sums.sum()) >= bound * n:
        return None
    observed = float(np.dot(sums, sums)) / n
    variance = max(observed, min(1.0, EXPECTED_FLIPS / n), bound)
    needed = required_n_certify(variance, bound, alpha=settings.alpha, power=settings.power)
    return needed if needed is not None and needed > n else None
