"""Which drop a suite can detect, and how many items are needed to detect a given drop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np

from gate.app.policy import DecisionKeywords, decision_settings
from gate.config import DecisionSettings
from gate.decision.plan import SuitePlan, TaskToPlan, plan_suite
from gate.errors import ConfigError
from gate.stats import PlannedLinks, PlannedTask, planned_scale

if TYPE_CHECKING:  # a plan without samples needs no pyarrow
    from gate.app.compare import Samples
    from gate.samples import ModelSamples

_TYPICAL_FLIP_RATES = (0.02, 0.05, 0.1)  # lossless changes, 8 bit, 4 bit
_LEAST_FLIPS = 0.5


def plan(
    baseline: Samples | None = None,
    second: Samples | None = None,
    *,
    n: int | None = None,
    flip_rate: float | None = None,
    drop: float | None = None,
    **decision: Unpack[DecisionKeywords],
) -> dict[str, SuitePlan]:
    """Return the detectable drop of a suite, and the number of items needed to detect a given drop.

    The command `gate plan` calls it.

    Parameters
    ----------
    baseline : path or ModelSamples, optional
        Samples of the baseline: they give the number of items per task. Items with equal prompts count once, over all
        tasks.
    second : path or ModelSamples, optional
        A second run of the baseline, or an earlier candidate: it gives the flip rate per task.
    n : int, optional
        Number of items of a single task, if there are no samples.
    flip_rate : float, optional
        Expected proportion of items that flip by noise alone, half of them for the worse; a drop adds regressions to
        them. Default: as observed in `second`, else 0.02, 0.05 and 0.1 in turn.
    drop : float, optional
        Drop (proportion) for which the needed number of items is computed.
    **decision
        alpha, power, rule and margin, as in gate.yml's `decision` section.

    Returns
    -------
    dict of str to SuitePlan
        One plan per flip rate, by a label such as "flip rate 0.05" or "flip rates as observed".

    Raises
    ------
    ConfigError
        Too little is given to plan with, the drop is not above the margin or cannot occur, or a decision setting is
        unknown or out of range.
    SampleError
        A file cannot be read, or the two sides do not pair.

    Examples
    --------
    >>> import gate
    >>> plan = gate.plan(n=1000, flip_rate=0.05, drop=0.02)["flip rate 0.05"]
    >>> plan.tasks[0].n, plan.tasks[0].needed
    (1000, 1163)
    """
    settings = decision_settings(decision)
    if baseline is None and n is None and (drop is None or flip_rate is None):
        raise ConfigError("gate plan has too little to plan with.", "Give BASELINE, or --n, or --flip-rate and --drop.")
    if drop is not None and drop <= settings.margin:
        raise ConfigError(
            f"the drop {drop:g} is not above the margin {settings.margin:g}, which the decision tolerates.",
            "Give a larger --drop or a smaller --margin.",
        )
    if baseline is not None and second is not None:
        observed, links = _observed(_samples(baseline), _samples(second), settings)
        if flip_rate is None:
            return {"flip rates as observed": plan_suite(observed, settings, drop, links)}
    if baseline is not None:
        sizes, links = _sizes(_samples(baseline))
    else:
        items = n or _needed(drop or 0.0, flip_rate or 0.0, settings)
        sizes, links = {"suite": _Size(items, items, 1.0)}, None
    rates = _TYPICAL_FLIP_RATES if flip_rate is None else (flip_rate,)
    return {
        f"flip rate {rate:g}": plan_suite(_with_rate(sizes, rate, settings), settings, drop, links) for rate in rates
    }


@dataclass(frozen=True)
class _Size:
    """The items of a task, the independent units among them, and the baseline's accuracy (1 for other scores)."""

    items: int
    units: int
    accuracy: float


def _with_rate(sizes: Mapping[str, _Size], rate: float, settings: DecisionSettings) -> dict[str, TaskToPlan]:
    """Return tasks of binary units."""
    return {
        name: TaskToPlan(size.items, rate, PlannedTask(size.units, rate, settings.margin, size.accuracy))
        for name, size in sizes.items()
    }


def _samples(samples: Samples) -> ModelSamples:
    if not isinstance(samples, str | os.PathLike):
        return samples
    from gate.app.samples import load_samples

    return load_samples(samples)


def _sizes(samples: ModelSamples) -> tuple[dict[str, _Size], PlannedLinks | None]:
    """Return the size of every task (repeats of an item are not items), and what the tasks share.

    Items with equal prompts flip together. Clusters are not counted: how their items flip is not known from one run.
    """
    from gate.decision.dependence import joined
    from gate.decision.sensitivity import planned_links
    from gate.samples import pair

    alone = [replace(task, clusters=None, names=None) for task in pair(samples, samples).tasks]
    pairs = joined(alone, {})
    sizes = {}
    for task in pairs:
        scores = task.baseline_score
        counts = np.ones(task.n) if task.clusters is None else np.bincount(task.clusters)
        units = max(1, round(task.n**2 / float(np.dot(counts, counts))))  # Kish's effective number
        sizes[task.task] = _Size(task.n, units, float(scores.mean()) if task.unit == "proportion" else 1.0)
    return sizes, planned_links(pairs)


def _observed(
    first: ModelSamples, second: ModelSamples, settings: DecisionSettings
) -> tuple[dict[str, TaskToPlan], PlannedLinks | None]:
    """Return the paired tasks, with the observed flips as noise, and what they share."""
    from gate.decision.dependence import joined
    from gate.decision.sensitivity import planned_links, planned_task
    from gate.samples import pair

    pairs = joined(pair(first, second).tasks, {})
    # a task without a flip in this pair of runs may flip in the next: count half a flip instead of none
    tasks = {
        task.task: TaskToPlan(
            task.n,
            max(task.regressions + task.improvements, _LEAST_FLIPS) / task.n,
            planned_task(task, settings.margin, _LEAST_FLIPS),
        )
        for task in pairs
    }
    return tasks, planned_links(pairs)


def _needed(drop: float, flip_rate: float, settings: DecisionSettings) -> int:
    """Return the items that a single task needs."""
    if drop + flip_rate > 1:
        raise ConfigError(
            f"the drop {drop:g} and the flip rate {flip_rate:g} are more than all items together.",
            "Give a smaller --drop or --flip-rate.",
        )
    task = PlannedTask(1000, flip_rate, settings.margin)
    return max(1, round(task.n * planned_scale([task], drop, settings.alpha, settings.power, settings.rule, rng=0)))
