"""What drop a run could have detected: noise flips as observed, and a drop that adds regressions to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from gate.config import DecisionSettings
from gate.samples import PairedTask
from gate.stats import PlannedTask, planned_detectable_drop

EXPECTED_FLIPS = 10
"""Detectable drops assume at least this many flips per task, because a model that got worse flips some answers."""

_RESAMPLES = 2_000


def expected_flip_rate(n: int, flips: int, least: float = EXPECTED_FLIPS) -> float:
    """Return the observed flip rate, but at least that of `least` flips."""
    return min(1.0, max(flips, least) / n)


def planned_task(pair: PairedTask, margin: float, least: float = EXPECTED_FLIPS) -> PlannedTask:
    """Return what the planner needs to know about a task.

    The observed flips, but at least `least`, are taken as noise, half of them regressions. Clustered items and scores
    that are not binary are planned as flips of their mean size (`PlannedTask.from_differences`, an approximation). A
    drop is at most the baseline's mean score, where the scores are proportions.
    """
    accuracy = float(pair.baseline_score.mean())
    proportions = bool(pair.baseline_score.min() >= 0.0 and pair.baseline_score.max() <= 1.0)
    if pair.binary and pair.clusters is None:
        flips = pair.regressions + pair.improvements
        return PlannedTask(pair.n, expected_flip_rate(pair.n, flips, least), margin, accuracy)
    task = PlannedTask.from_differences(pair.baseline_score - pair.candidate_score, pair.clusters, least)
    return replace(task, margin=margin, largest=accuracy if proportions else math.inf)


def detectable(tasks: Sequence[PlannedTask], settings: DecisionSettings, seed: int = 0) -> float | None:
    """Return the smallest drop, equal on every task, that is detected with the wanted power; None if there is none."""
    drop = planned_detectable_drop(
        tasks, settings.alpha, settings.power, settings.rule, n_resamples=_RESAMPLES, rng=seed
    )
    return None if math.isnan(drop) else drop
