"""Power curves: the probability of FAIL against the true drop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gate.decision.sensitivity import expected_flip_rate
from gate.report.result import Result
from gate.stats import RULES, PlannedDecision, PlannedTask, power

_POINTS = 31
_RUNS = 10_000
_BISECTIONS = 7


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
    simulated as in `gate.stats.decision_power`, accurate to about half a percentage point.
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
    powers = [_task_power(task, alpha) for task in planned]
    decision = powers[0]
    if len(gating) > 1:
        seed = result.provenance.get("seed")
        rng = seed if isinstance(seed, int) else 0
        decision = PlannedDecision(planned, alpha, rule, n_resamples=_RUNS, rng=rng).power
    drops = np.linspace(0.0, _axis_end(decision, highest), _POINTS).tolist()
    return PowerCurves(
        drops=tuple(drops),
        decision=tuple(decision(drop) for drop in drops),
        tasks={task.task: tuple(curve(drop) for drop in drops) for task, curve in zip(gating, powers, strict=True)},
        exact=len(gating) == 1,
    )


def _task_power(task: PlannedTask, alpha: float) -> Callable[[float], float]:
    def at(drop: float) -> float:
        added = min(drop, task.largest, 1.0 - task.noise_rate)
        return power(task.n, task.noise_rate + added, added, alpha)

    return at


def _axis_end(decision: Callable[[float], float], highest: float) -> float:
    """Return the end of the axis: a little beyond the drop with 99% power, at most `highest`."""
    low, high = 0.0, highest
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if decision(middle) >= 0.99 else (middle, high)
    return min(highest, 1.25 * high)
