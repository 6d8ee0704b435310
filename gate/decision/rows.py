"""One row of the result from one task's paired samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from gate.config import DecisionSettings, TaskPolicy
from gate.decision.behaviour import behaviour_of
from gate.decision.broken import broken_of
from gate.decision.dependence import flip_interval
from gate.decision.result import TaskResult, TestName
from gate.decision.sensitivity import detectable, planned_task, span_of
from gate.samples import PairedTask
from gate.samples.along import error_of_mean, item_means, same_top_share
from gate.samples.duplicates import without_single_items
from gate.stats import Evidence, drop_interval, effective_number, mcnemar_midp, unit_interval

Role = Literal["gating", "advisory"]
NO_POLICY = TaskPolicy()


@dataclass(frozen=True)
class Judged:
    """A paired task, its role, its evidence and its own policy."""

    pair: PairedTask
    role: Role
    evidence: Evidence
    policy: TaskPolicy = NO_POLICY

    def margin(self, settings: DecisionSettings) -> float:
        """Return the tolerated drop of this task: its own, or that of the decision."""
        if self.policy.margin is not None:
            return self.policy.margin
        # a proportion of scores of unknown range means nothing; a gating task is refused, see `gate.decision.validity`
        return settings.margin if self.pair.unit == "proportion" else 0.0


def evidence_of(pair: PairedTask, seed: int) -> Evidence:
    """Return the evidence of a task: counts for independent binary items, else differences with their clusters."""
    if pair.binary and pair.clusters is None:
        return Evidence.from_counts(pair.regressions, pair.improvements, pair.n)
    differences = pair.baseline_score - pair.candidate_score
    span = span_of(pair) if pair.unit == "proportion" or not differences.any() else None
    return Evidence.from_differences(differences, pair.clusters, rng=seed, span=span)


def test_name(evidence: Evidence, margin: float) -> TestName:
    """Return the test that gives the p-value of a task."""
    if evidence.is_binary:
        return "exact McNemar" if margin == 0 else "exact unconditional test at the margin"
    return "sign-flip permutation" if margin == 0 else "score test on the differences at the margin"


def subtasks_of(pair: PairedTask) -> list[PairedTask]:
    """Return the subtasks of a group, in the order of their first items; empty for a task that is not a group."""
    column = pair.baseline.column("task").combine_chunks().dictionary_encode()
    if len(column.dictionary) < 2:
        return []
    codes = column.indices.to_numpy()
    return [
        part_of(pair, name, np.flatnonzero(codes == code)) for code, name in enumerate(column.dictionary.to_pylist())
    ]


def part_of(pair: PairedTask, name: str, rows: npt.NDArray[np.int64]) -> PairedTask:
    """Return some rows of a task as a task of its own, independent of others."""
    clusters = None
    if pair.clusters is not None:
        clusters = without_single_items(np.unique(pair.clusters[rows], return_inverse=True)[1])
    return replace(
        pair,
        task=name,
        baseline=pair.baseline.take(rows),
        candidate=pair.candidate.take(rows),
        baseline_score=pair.baseline_score[rows],
        candidate_score=pair.candidate_score[rows],
        clusters=clusters,
        prompts=None,
        names=None,
        shared=None,
    )


def task_row(
    judged: Judged, settings: DecisionSettings, p: float, p_holm: float | None, can_reject: bool
) -> TaskResult:
    """Return the row of one task. `p` is the p-value of its own test; `p_holm` is None for an advisory task."""
    pair = judged.pair
    b, c, n = pair.regressions, pair.improvements, pair.n
    binary = judged.evidence.is_binary
    positions = pair.positions
    kl = None if positions is None else item_means(positions)
    baseline, candidate = float(pair.baseline_score.mean()), float(pair.candidate_score.mean())
    margin = judged.margin(settings)
    low, high = interval_of(judged, 0.9, margin)
    sizes = sizes_of(pair)
    return TaskResult(
        task=pair.task,
        metric=pair.metric,
        role=judged.role,
        n=n,
        repeats=pair.repeats,
        baseline=baseline,
        candidate=candidate,
        drop=(b - c) / n if pair.binary else baseline - candidate,
        drop_ci90=(low, high),
        regressions=b,
        improvements=c,
        flip_rate=(b + c) / n,
        flip_rate_ci95=flip_interval([pair], 0.95),
        all_flip_rate=pair.changed_answers / n,
        independent=pair.clusters is None,
        units=len(sizes),
        effective_units=effective_number(sizes),
        unit=pair.unit,
        test=test_name(judged.evidence, margin),
        p_exact=p,
        p_is_bound=margin == 0 and judged.evidence.p_is_bound,
        p_mid=mcnemar_midp(b, c).pvalue if binary and margin == 0 else None,
        p_holm=p_holm,
        can_reject=can_reject,
        detectable_drop=detectable([planned_task(pair, margin)], settings),
        kl_mean=None if kl is None else max(0.0, float(kl.mean())),
        kl_error=None if positions is None else error_of_mean(positions),
        behaviour=behaviour_of(pair),
        kl_is_bound=None if positions is None else positions.variance is None,
        kl_median=None if kl is None else float(np.median(kl)),
        kl_p99=None if kl is None else float(np.quantile(kl, 0.99)),
        same_top_rate=None if positions is None else same_top_share(positions),
        broken=broken_of(pair),
        margin=margin,
    )


def interval_of(
    judged: Judged, confidence_level: float, margin: float = 0.0, upper_only: bool = False
) -> tuple[float, float]:
    """Return the two-sided interval of a task's drop: exact for independent binary items, else `unit_interval`.

    It agrees with the task's own test at drop 0 and at `margin`.
    Its lower bound takes half of the time; `upper_only` leaves it out.
    """
    pair = judged.pair
    if judged.evidence.is_binary:
        b, c, n = pair.regressions, pair.improvements, pair.n
        low, high = drop_interval(b, c, n, confidence_level, margin=margin, upper_only=upper_only)
        return low, high
    low, high = unit_interval(judged.evidence, confidence_level, margin=margin, upper_only=upper_only)
    return low, high


def sizes_of(pair: PairedTask) -> npt.NDArray[np.float64]:
    """Return the number of items of each independent unit."""
    return np.ones(pair.n) if pair.clusters is None else np.bincount(pair.clusters).astype(np.float64)
