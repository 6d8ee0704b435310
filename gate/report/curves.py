"""What a run could have seen: the chance of FAIL against the true drop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gate.decision.rows import expected_flip_rate
from gate.report.result import Result
from gate.stats import RULES, Rule, power
from gate.stats.planning import _Decision

POINTS = 31
_RUNS = 10_000
_STEPS = 7  # bisection for the width of the axis


@dataclass(frozen=True)
class PowerCurves:
    """Chance that this run fails a candidate, by its true drop.

    Attributes
    ----------
    drops : tuple of float
        True drops (proportions), from 0 up.
    decision : tuple of float
        Chance that the whole decision fails it, the drop being the same on every gating task.
    tasks : mapping of str to tuple of float
        Chance that a gating task's own exact test rejects at the run's alpha.
    exact : bool
        Whether `decision` is exact (one task); else it is simulated.
    """

    drops: tuple[float, ...]
    decision: tuple[float, ...]
    tasks: dict[str, tuple[float, ...]]
    exact: bool


def power_curves(result: Result) -> PowerCurves | None:
    """Return the curves; None where no exact test decides (a margin, clusters, or scores not right or wrong).

    Notes
    -----
    Flip rates as for the detectable drops: the observed one, but at least ten flips. A task's own curve is exact
    (`gate.stats.power`); so is the decision's where one task gates, else it is simulated as by
    `gate.stats.decision_power`, each point to about half a per cent.
    """
    gating = [task for task in result.tasks if task.role == "gating"]
    exact = all(task.test == "exact McNemar" for task in gating)
    rule = _rule(result.rule)
    if not gating or not exact or result.margin > 0 or rule is None:
        return None
    sizes = np.array([task.n for task in gating])
    flips = np.array([expected_flip_rate(task.n, task.regressions + task.improvements) for task in gating])
    alone = [_alone(int(n), float(flip), result.alpha) for n, flip in zip(sizes, flips, strict=True)]
    chance = alone[0]
    if len(gating) > 1:
        seed = result.provenance.get("seed")
        joint = _Decision(sizes, flips, result.alpha, rule, _RUNS, seed if isinstance(seed, int) else 0)

        def chance(drop: float) -> float:
            return joint.power(np.minimum(drop, flips))

    drops = np.linspace(0.0, _reach(chance, float(flips.max())), POINTS).tolist()
    return PowerCurves(
        drops=tuple(drops),
        decision=tuple(chance(drop) for drop in drops),
        tasks={
            task.task: tuple(own(drop) for drop in drops) for task, own in zip(gating, alone, strict=True)
        },
        exact=len(gating) == 1,
    )


def _alone(n: int, flip_rate: float, alpha: float) -> Callable[[float], float]:
    return lambda drop: power(n, flip_rate, min(drop, flip_rate), alpha)


def _reach(chance: Callable[[float], float], highest: float) -> float:
    """Return a drop, at most the largest flip rate, at which FAIL is nearly sure: the axis ends a little beyond."""
    low, high = 0.0, highest
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if chance(middle) >= 0.99 else (middle, high)
    return min(highest, 1.25 * high)


def _rule(name: str) -> Rule | None:
    return next((rule for rule in RULES if rule == name), None)
