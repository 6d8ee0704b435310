"""One task's paired samples to one row of the result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

from gate.config import DecisionSettings
from gate.decision.result import TaskResult
from gate.samples import PairedTask
from gate.stats import (
    Evidence,
    flip_rate_interval,
    mcnemar_midp,
    minimum_detectable_drop,
    tango_interval,
)

Role = Literal["gating", "advisory"]
EXPECTED_FLIPS = 10
"""A model that got worse flips some answers: detectable drops assume at least this many flips a task."""


@dataclass(frozen=True)
class Judged:
    """A paired task, its role and its evidence."""

    pair: PairedTask
    role: Role
    evidence: Evidence


def evidence_of(pair: PairedTask, seed: int) -> Evidence:
    """Return what a task says: counts where items are independent and right or wrong, else sign-flips."""
    if pair.binary and pair.clusters is None:
        return Evidence.from_counts(pair.regressions, pair.improvements, pair.n)
    return Evidence.from_differences(pair.baseline_score - pair.candidate_score, pair.clusters, seed=seed)


def subtasks_of(pair: PairedTask) -> list[PairedTask]:
    """Return the parts of a group of tasks, in the order of their first items; none where there is only one."""
    column = pair.baseline.column("task").combine_chunks().dictionary_encode()
    if len(column.dictionary) < 2:
        return []
    codes = column.indices.to_numpy()
    parts = []
    for code, name in enumerate(column.dictionary.to_pylist()):
        places = np.flatnonzero(codes == code)
        clusters = None if pair.clusters is None else np.unique(pair.clusters[places], return_inverse=True)[1]
        parts.append(
            PairedTask(
                name,
                pair.metric,
                pair.baseline.take(places),
                pair.candidate.take(places),
                pair.baseline_score[places],
                pair.candidate_score[places],
                pair.binary,
                clusters,
            )
        )
    return parts


def expected_flip_rate(n: int, flips: int) -> float:
    """Return the observed flip rate, but at least `EXPECTED_FLIPS` flips."""
    return min(1.0, max(flips, EXPECTED_FLIPS) / n)


def task_row(
    judged: Judged, settings: DecisionSettings, p: float, p_holm: float | None, can_reject: bool
) -> TaskResult:
    """Return the row of one task; `p` is the test's p-value at the settings' margin."""
    pair = judged.pair
    b, c, n = pair.regressions, pair.improvements, pair.n
    exact = judged.evidence.is_binary
    kl = pair.divergences
    baseline, candidate = float(pair.baseline_score.mean()), float(pair.candidate_score.mean())
    if exact:
        low, high = tango_interval(b, c, n, 0.9)
        error = math.sqrt(expected_flip_rate(n, b + c) / n)
    else:
        low, high, error = _mean_interval(pair)
    if exact and settings.margin == 0:
        mde = minimum_detectable_drop(n, expected_flip_rate(n, b + c), settings.alpha, settings.power)
    else:  # large-sample, like the test itself
        mde = settings.margin + float(ndtri(1 - settings.alpha) + ndtri(settings.power)) * error
    return TaskResult(
        task=pair.task,
        metric=pair.metric,
        role=judged.role,
        n=n,
        baseline=baseline,
        candidate=candidate,
        drop=(b - c) / n if pair.binary else baseline - candidate,
        drop_ci90=(low, high),
        regressions=b,
        improvements=c,
        flip_rate=(b + c) / n,
        flip_rate_ci95=_pair(flip_rate_interval(b + c, n, 0.95)),
        all_flip_rate=pair.changed_answers / n,
        test="Tango score at the margin"
        if settings.margin > 0
        else "exact McNemar"
        if exact
        else "sign-flip permutation",
        p_exact=p,
        p_mid=mcnemar_midp(b, c) if exact and settings.margin == 0 else None,
        p_holm=p_holm,
        can_reject=can_reject,
        mde=None if math.isnan(mde) else mde,
        kl_mean=None if kl is None else float(kl.mean()),
        kl_median=None if kl is None else float(np.median(kl)),
        kl_p99=None if kl is None else float(np.quantile(kl, 0.99)),
        same_top_rate=pair.same_top_rate,
    )


def _pair(interval: tuple[float, float]) -> tuple[float, float]:
    return float(interval[0]), float(interval[1])


def _mean_interval(pair: PairedTask) -> tuple[float, float, float]:
    """Return Student's t 90 % interval of the mean difference and its standard error, by cluster where given."""
    from scipy.stats import t

    differences = pair.baseline_score - pair.candidate_score
    mean = float(differences.mean())
    centred = differences - mean
    if pair.clusters is not None:
        centred = np.bincount(pair.clusters, centred).astype(np.float64)
    units = len(centred)
    moved = int(np.count_nonzero(differences))
    # few differences say little about the variance: as for counts, assume at least ten flips
    floor = math.sqrt(min(1.0, EXPECTED_FLIPS / units) / units)
    if units < 2:
        return -1.0, 1.0, math.nan
    if moved == 0:
        low, high = tango_interval(0, 0, units, 0.9)
        return low, high, floor
    error = math.sqrt(float(np.dot(centred, centred)) * units / (units - 1)) / pair.n
    if moved < EXPECTED_FLIPS:
        error = max(error, floor)
    half = float(t.ppf(0.95, units - 1)) * error
    return mean - half, mean + half, error
