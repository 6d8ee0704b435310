"""Planning: which drop a suite can detect, and how many items are needed to detect a given drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gate.config import DecisionSettings
from gate.decision.sensitivity import detectable
from gate.errors import ConfigError
from gate.stats import PlannedLinks, PlannedTask, Rule, planned_scale


@dataclass(frozen=True)
class TaskPlan:
    """One task on its own, judged by its own test.

    Attributes
    ----------
    n : int
        Items.
    flip_rate : float
        Expected proportion of items whose score changes by noise alone.
    detectable_drop : float or None
        Smallest drop detected with the wanted power; None where the power is lower even if every right answer is lost.
    needed : int or None
        Items needed to detect the wanted drop; None where no drop is given, or no number of items can detect it.
    role : {"gating", "advisory"}
    margin : float
        Tolerated drop (proportion).
    """

    task: str
    n: int
    flip_rate: float
    detectable_drop: float | None
    needed: int | None
    role: Literal["gating", "advisory"]
    margin: float


@dataclass(frozen=True)
class SuitePlan:
    """All tasks, and the decision over the gating ones.

    Attributes
    ----------
    detectable_drop : float or None
        Smallest drop, equal on every gating task, that the decision detects with the wanted power.
    needed : int or None
        Items needed over all gating tasks, in the given proportions, for the decision to detect the wanted drop on
        every one of them.
    alpha, power : float
        Level of the decision, and the wanted power (proportions).
    rule : str
        The rule that decides.
    """

    tasks: tuple[TaskPlan, ...]
    detectable_drop: float | None
    needed: int | None
    alpha: float
    power: float
    rule: Rule

    @property
    def n(self) -> int:
        """Items of the gating tasks."""
        return sum(task.n for task in self.tasks if task.role == "gating")


@dataclass(frozen=True)
class TaskToPlan:
    """A task before planning: its items, its flip rate, and what the planner needs to know."""

    n: int
    flip_rate: float
    planned: PlannedTask
    role: Literal["gating", "advisory"] = "gating"


def plan_suite(
    tasks: Mapping[str, TaskToPlan],
    settings: DecisionSettings,
    drop: float | None = None,
    links: PlannedLinks | None = None,
) -> SuitePlan:
    """Return the detectable drops of a suite, and the number of items needed to detect a given drop.

    Parameters
    ----------
    tasks : mapping of str to TaskToPlan
        At least one is gating.
    settings : DecisionSettings
        alpha, power, rule.
    drop : float, optional
        Drop (proportion) for which the needed items are computed.
    links : PlannedLinks, optional
        Which flips the gating tasks share; without it, tasks are independent.

    Raises
    ------
    ConfigError
        The drop is not above the margin of any gating task.

    Notes
    -----
    A drop adds regressions to the noise. The whole decision is planned with the rule that decides, over the gating
    tasks (`gate.stats.decision_detectable_drop`); each task with its own test at alpha.
    """
    gating = [task.planned for task in tasks.values() if task.role == "gating"]
    margin = min(task.margin for task in gating)
    if drop is not None and drop <= margin:
        raise ConfigError(
            f"the drop {drop:g} is not above the margin {margin:g}, which the decision tolerates.",
            "Give a larger --drop or a smaller --margin.",
        )
    rows = [
        TaskPlan(
            name,
            task.n,
            task.flip_rate,
            detectable([task.planned], settings),
            _needed(task.n, [task.planned], drop, settings),
            task.role,
            task.planned.margin,
        )
        for name, task in tasks.items()
    ]
    total = sum(task.n for task in tasks.values() if task.role == "gating")
    needed = _needed(total, gating, drop, settings, links)
    found = detectable(gating, settings, links=links)
    return SuitePlan(tuple(rows), found, needed, settings.alpha, settings.power, settings.rule)


def _needed(
    n: int,
    tasks: Sequence[PlannedTask],
    drop: float | None,
    settings: DecisionSettings,
    links: PlannedLinks | None = None,
) -> int | None:
    if drop is None:
        return None
    try:
        scale = planned_scale(tasks, drop, settings.alpha, settings.power, settings.rule, rng=0, links=links)
    except ValueError:  # not above the margin, above the baseline's accuracy, or too small for any number of items
        return None
    return round(n * scale)
