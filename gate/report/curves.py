"""Power curves: the probability of FAIL against the true drop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.decision.sensitivity import expected_flip_rate
from gate.report.result import Result
from gate.stats import RULES, PlannedDecision, PlannedTask, Rule, planned_detectable_drop, power

_POINTS, _EVERY = 31, 3  # of the simulated points, every third is evaluated
_RUNS = 5_000
_NEAR_ONE = 0.99

FloatArray = NDArray[np.float64]
Curve = tuple[float, ...]


@dataclass(frozen=True)
class PowerCurves:
    """Probability that this run fails a candidate, by its true drop.

    Attributes
    ----------
    drops : tuple of float
        True drops (proportions), from 0 up.
    decision : tuple of float
        Probability that the decision is FAIL, for the same drop on every gating task.
    tasks : dict of str to tuple of float
        Probability that the exact test of one gating task rejects at the level of the detectable drop.
    exact : bool
        Whether `decision` is exact (one task) or simulated.
    """

    drops: tuple[float, ...]
    decision: tuple[float, ...]
    tasks: dict[str, tuple[float, ...]]
    exact: bool


def power_curves(result: Result) -> PowerCurves | None:
    """Return the power curves; None unless the gating tasks are independent and have the exact McNemar test.

    Notes
    -----
    The noise is that of the detectable drops: the observed flips, but at least ten per task, half of them regressions.
    A drop adds regressions, on each task at most the baseline's accuracy. The curve of a task is
    exact (`gate.stats.power`), and so is that of the decision if one task is gating. Otherwise the decision is
    simulated as in `gate.stats.decision_power`, accurate to about half a percentage point. The axis ends a little
    beyond the drop with 99 % power.
    """
    gating = result.gating
    rule = next((rule for rule in RULES if rule == result.decided_by), None)
    if rule is None or result.sensitivity.linked or any(task.test != "exact McNemar" for task in gating):
        return None
    planned = [
        PlannedTask(task.n, expected_flip_rate(task.n, task.regressions + task.improvements), largest=task.baseline)
        for task in gating
    ]
    highest = max(task.largest for task in planned)
    if highest <= 0.0:  # the baseline answers nothing right, so nothing can drop
        return None
    alpha = result.sensitivity.alpha or result.alpha
    seed = result.provenance.get("seed")
    rng = seed if isinstance(seed, int) else 0
    drops, decision, curves = _curves(tuple(planned), highest, alpha, rule, rng)
    tasks = {task.task: curve for task, curve in zip(gating, curves, strict=True)}
    return PowerCurves(drops, decision, tasks, exact=len(gating) == 1)


@lru_cache(maxsize=16)  # pages of one result have the same curves
def _curves(
    planned: tuple[PlannedTask, ...], highest: float, alpha: float, rule: Rule, rng: int
) -> tuple[Curve, Curve, list[Curve]]:
    """Return the drops, and the power of the decision and of each task at these."""
    near_one = planned_detectable_drop(planned, alpha, _NEAR_ONE, rule, n_resamples=_RUNS, rng=rng)
    drops = np.linspace(0.0, highest if math.isnan(near_one) else min(highest, 1.25 * near_one), _POINTS)
    tasks = [_task_curve(task, alpha, drops) for task in planned]
    decision = tasks[0]
    if len(planned) > 1:
        simulated = PlannedDecision(planned, alpha, rule, n_resamples=_RUNS, rng=rng)
        decision = tuple(_simulated(simulated.power, drops).tolist())
    return tuple(drops.tolist()), decision, tasks


def _task_curve(task: PlannedTask, alpha: float, drops: FloatArray) -> Curve:
    added = np.minimum(drops, min(task.largest, 1.0 - task.noise_rate)).tolist()
    return tuple(power(task.n, task.noise_rate + drop, drop, alpha) for drop in added)


def _simulated(power_at: Callable[[float], float], drops: FloatArray) -> FloatArray:
    """Return simulated powers: the probit of the power is smooth, so that a third of the points determine it."""
    few = drops[::_EVERY]
    probits = special.ndtri(np.clip([power_at(drop) for drop in few.tolist()], 1e-5, 1.0 - 1e-5))
    return np.asarray(special.ndtr(np.interp(drops, few, probits)))
