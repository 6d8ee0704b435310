"""Numbers and sentences that all reports share."""

from __future__ import annotations

import math

from gate.decision import TaskResult
from gate.report.result import Result


def percent(proportion: float) -> str:
    """Return a proportion as per cent."""
    return f"{100 * proportion:.1f} %"


def points(drop: float) -> str:
    """Return a signed drop in percentage points."""
    return f"{100 * drop:+.2f}" if drop else "0.00"


def drop_cell(task: TaskResult) -> str:
    """Return the drop and its 90 % interval, in points."""
    low, high = task.drop_ci90
    return f"{points(task.drop)} ({points(low)} to {points(high)})"


def p_value(p: float | None) -> str:
    """Return a p-value in three digits."""
    return "-" if p is None else f"{p:.3g}"


def headline(result: Result) -> str:
    """Return the verdict and what was compared, in a few words."""
    tasks = sum(task.role == "gating" for task in result.tasks)
    return f"{tasks} task{'s' if tasks != 1 else ''}, {result.items:,} paired items"


def sensitivity(result: Result) -> str:
    """Say what a PASS of this run could have seen."""
    seen = result.sensitivity
    times = f"{10 * seen.power:g} times in 10"
    if result.margin > 0:
        text = "With a margin only each task's own detectable drop is known (`mde` in the JSON result)."
    elif seen.drop is None and all(
        task.test == "exact McNemar" for task in result.tasks if task.role == "gating"
    ):
        text = f"Too few items: even if every flip were for the worse, this run would fail less than {times}."
    elif seen.drop is None:
        text = (
            "For this mix of scores only each task's own detectable drop is known (`mde` in the JSON result)."
        )
    else:
        text = f"A true drop of {100 * seen.drop:.2g} points on every task would have failed {times}."
    if seen.blind_tasks:
        text += f" Too few flips to reject on their own: {', '.join(seen.blind_tasks)}."
    return text


def spending(result: Result) -> str | None:
    """Say how alpha is spent over a history of runs, where it is."""
    spent = result.spending
    if spent is None:
        return None
    return (
        f"Run {spent.run} of its series ({spent.alarms} earlier alarm(s)) has alpha {spent.level:.3g} "
        f"({spent.kind}): {spent.guarantee}."
    )


def early_stop(result: Result) -> str | None:
    """Say what looking at the flips during the evaluation brought, where it was asked for."""
    early = result.early_stop
    if early is None:
        return None
    found = f"e-value {math.exp(min(early.log_e_value, 700)):.3g}, {1 / early.alpha:.3g} needed"
    if not early.stopped:
        return f"The evidence never sufficed to stop ({found}); all {early.of:,} items were asked."
    if early.items >= early.of:
        return f"The evidence sufficed to stop at the last of all {early.of:,} gating items ({found})."
    saved = early.of - early.items
    return (
        f"Stopped after {early.items:,} of {early.of:,} gating items ({found}); "
        f"{saved:,} items ({percent(saved / early.of)}) were saved."
    )
