"""What drop a run could have detected: noise flips as observed, and a drop that adds regressions to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from gate.config import DecisionSettings
from gate.samples import PairedTask
from gate.stats import PlannedLinks, PlannedTask, Rule, planned_detectable_drop

EXPECTED_FLIPS = 10
"""Detectable drops assume at least this many flips per task, because a model that got worse flips some answers."""

_RESAMPLES = 2_000
_MOST_GROUPS = 64  # of clusters by the tasks that they are in; the rest counts as independent


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
    differences = pair.baseline_score - pair.candidate_score
    task = PlannedTask.from_differences(differences, pair.clusters, least)
    if pair.unit == "score" and not differences.any():  # flips of the size of the scores' range
        task = replace(task, gain=task.gain / (span_of(pair) or 1.0))
    return replace(task, margin=margin, largest=accuracy if proportions else math.inf)


def planned_links(pairs: Sequence[PairedTask]) -> PlannedLinks | None:
    """Return which flips the tasks share, for the planner; None where they are independent.

    Expected are the observed shares of flips in clusters that changed in several tasks, or with fewer than ten changed
    clusters, of all items in clusters of several tasks.
    """
    shared = [pair.shared for pair in pairs]
    if all(own is None for own in shared):
        return None
    units = np.unique(np.concatenate([own[own >= 0] for own in shared if own is not None]))
    changed, items = (np.zeros((len(units), len(pairs))) for _ in range(2))
    flips = np.zeros(len(pairs))
    for task, (pair, own) in enumerate(zip(pairs, shared, strict=True)):
        differences = pair.baseline_score - pair.candidate_score
        flips[task] = float(np.abs(differences).sum())
        if own is not None:
            row = np.searchsorted(units, own[own >= 0])
            changed[:, task] = np.abs(np.bincount(row, differences[own >= 0], len(units)))
            items[:, task] = np.bincount(row, minlength=len(units))
    sizes = np.array([float(pair.n) for pair in pairs])
    enough = np.count_nonzero(changed.any(axis=1)) >= EXPECTED_FLIPS
    amounts, totals = (changed, np.maximum(flips, 1e-300)) if enough else (items, sizes)
    inside = amounts > 0.0
    several = np.count_nonzero(inside, axis=1) > 1
    if not several.any():
        return None
    members, group = np.unique(inside[several], axis=0, return_inverse=True)
    shares = np.zeros(members.shape)
    np.add.at(shares, group.ravel(), amounts[several] / totals)
    largest = np.argsort(-shares.sum(axis=1), kind="stable")[:_MOST_GROUPS]
    return PlannedLinks(members[largest], shares[largest])


def span_of(pair: PairedTask) -> float:
    """Return the largest difference that is assumed of an item: 1 for proportions, else the range of the scores."""
    if pair.unit == "proportion":
        return 1.0
    scores = (pair.baseline_score, pair.candidate_score)
    return float(max(score.max() for score in scores) - min(score.min() for score in scores))


def detectable(
    tasks: Sequence[PlannedTask], settings: DecisionSettings, seed: int = 0, links: PlannedLinks | None = None
) -> float | None:
    """Return the smallest drop, equal on every task, that is detected with the wanted power; None if there is none."""
    drop = _detectable(tuple(tasks), settings.alpha, settings.power, settings.rule, seed, links)
    return None if math.isnan(drop) else max(drop, 0.0)  # a level above the power rejects without a drop, too


@lru_cache(maxsize=256)
def _detectable(
    tasks: tuple[PlannedTask, ...], alpha: float, power: float, rule: Rule, seed: int, links: PlannedLinks | None
) -> float:
    return planned_detectable_drop(tasks, alpha, power, rule, n_resamples=_RESAMPLES, rng=seed, links=links)
