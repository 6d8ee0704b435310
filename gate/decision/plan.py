"""Planning: which drop a suite can detect, and how many items are needed to detect a given drop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gate.config import DecisionSettings
from gate.stats import decision_detectable_drop, detectable_drop, required_n


@dataclass(frozen=True)
class TaskPlan:
    """One task on its own, judged by the exact one-sided McNemar test.

    Attributes
    ----------
    n : int
        Items.
    flip_rate : float
        Expected proportion of items whose score changes.
    detectable_drop : float or None
        Smallest drop detected with the wanted power; None where the power is lower even if every flip is a regression.
    needed : int or None
        Items needed to detect the wanted drop; None where no drop is given, or it exceeds the flip rate.
    """

    task: str
    n: int
    flip_rate: float
    detectable_drop: float | None
    needed: int | None


@dataclass(frozen=True)
class SuitePlan:
    """All tasks, and the decision over them.

    Attributes
    ----------
    detectable_drop : float or None
        Smallest drop, equal on every task, that the decision detects with the wanted power.
    needed : int or None
        Items needed in total to detect the wanted drop, as one pooled task with the mean flip rate.
    """

    tasks: tuple[TaskPlan, ...]
    detectable_drop: float | None
    needed: int | None


def plan_suite(
    sizes: Mapping[str, int],
    flip_rates: Mapping[str, float],
    settings: DecisionSettings,
    drop: float | None = None,
) -> SuitePlan:
    """Return the detectable drops of a suite, and the number of items needed to detect a given drop.

    Parameters
    ----------
    sizes : mapping of str to int
        Items of each task.
    flip_rates : mapping of str to float
        Expected flip rate of each task (proportion), above 0.
    settings : DecisionSettings
        alpha, power and rule.
    drop : float, optional
        Drop (proportion) for which the needed items are computed.
    """
    tasks = tuple(_task(name, n, flip_rates[name], settings, drop) for name, n in sizes.items())
    joint = decision_detectable_drop(
        [task.n for task in tasks],
        [task.flip_rate for task in tasks],
        settings.alpha,
        settings.power,
        settings.rule,
        rng=0,
    )
    total = sum(task.n for task in tasks)
    mean = sum(task.n * task.flip_rate for task in tasks) / total
    return SuitePlan(tasks, None if math.isnan(joint) else joint, _needed(mean, drop, settings))


def _task(name: str, n: int, flip_rate: float, settings: DecisionSettings, drop: float | None) -> TaskPlan:
    detectable = detectable_drop(n, flip_rate, settings.alpha, settings.power)
    return TaskPlan(
        name, n, flip_rate, None if math.isnan(detectable) else detectable, _needed(flip_rate, drop, settings)
    )


def _needed(flip_rate: float, drop: float | None, settings: DecisionSettings) -> int | None:
    if drop is None or drop > flip_rate:
        return None
    return required_n(flip_rate, drop, settings.alpha, settings.power)
