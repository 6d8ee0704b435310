"""Power curves: the probability of FAIL against the true drop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gate.decision.rows import expected_flip_rate
from gate.report.result import Result
from gate.stats import RULES, PlannedDecision, power

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
        Probability that the exact test of one gating task rejects at the run's alpha.
    exact : bool
        Whether `decision` is exact (one task) or simulated.
    """

    drops: tuple[float, ...]
    decision: tuple[float, ...]
    tasks: dict[str, tuple[float, ...]]
    exact: bool


def power_curves(result: Result) -> PowerCurves | None:
    """Return the power curves; None unless every gating task is judged by the exact McNemar test.

    Notes
    -----
    Flip rates are those of the detectable drops: observed, but at least ten flips per task. The curve of a task is
    exact (`gate.stats.power`), and so is that of the decision if one task is gating. Otherwise the decision is
    simulated as in `gate.stats.decision_power`, accurate to about half a percentage point.
    """
    gating = result.gating
    rule = next((rule for rule in RULES if rule == result.rule), None)
    if rule is None or any(task.test != "exact McNemar" for task in gating):
        return None
    sizes = np.array([task.n for task in gating])
    flips = np.array([expected_flip_rate(task.n, task.regressions + task.improvements) for task in gating])
    powers = [_task_power(int(n), float(flip), result.alpha) for n, flip in zip(sizes, flips, strict=True)]
    decision = powers[0]
    if len(gating) > 1:
        seed = result.provenance.get("seed")
        rng = seed if isinstance(seed, int) else 0
        planned = PlannedDecision(sizes, flips, result.alpha, rule, n_resamples=_RUNS, rng=rng)

        def decision(drop: float) -> float:
            return planned.power(np.minimum(drop, flips))

    drops = np.linspace(0.0, _axis_end(decision, float(flips.max())), _POINTS).tolist()
    return PowerCurves(
        drops=tuple(drops),
        decision=tuple(decision(drop) for drop in drops),
        tasks={task.task: tuple(curve(drop) for drop in drops) for task, curve in zip(gating, powers, strict=True)},
        exact=len(gating) == 1,
    )


def _task_power(n: int, flip_rate: float, alpha: float) -> Callable[[float], float]:
    return lambda drop: power(n, flip_rate, min(drop, flip_rate), alpha)


def _axis_end(decision: Callable[[float], float], highest: float) -> float:
    """Return the end of the axis: a little beyond the drop with 99% power, at most `highest`."""
    low, high = 0.0, highest
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if decision(middle) >= 0.99 else (middle, high)
    return min(highest, 1.25 * high)
