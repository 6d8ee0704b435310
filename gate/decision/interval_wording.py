"""How reports describe the intervals and the simultaneous bounds of drops."""

from __future__ import annotations

import math

from gate.decision.result import Decision, TaskResult

FEWEST_UNITS = 5.0
"""No bound is given for fewer effective units: one or two of them would decide it."""

_UNEQUAL = 0.5  # effective units per unit, below which the clusters are called unequal


def interval_name(decision: Decision) -> str:
    """Return what the intervals of drops are."""
    return "90% interval, not adjusted for the stop" if decision.stopped_early else "90% interval"


def interval_caption(decision: Decision) -> str:
    """Say how the intervals of drops were computed."""
    text = (
        "The 90% intervals of independent binary items invert exact tests; other intervals invert large-sample score "
        "tests."
    )
    if decision.stopped_early:
        text += " They assume a number of items that does not depend on the answers, so they are too far from 0 here."
    return text


def bounds(decision: Decision) -> str:
    """Return the largest of the simultaneous bounds of the drops; empty for one task, and where there are none."""
    gating = decision.gating
    if len(gating) < 2 or decision.bound_confidence is None or any(task.unit == "score" for task in gating):
        return ""
    few = [task for task in gating if task.effective_units is not None and task.effective_units < FEWEST_UNITS]
    if few:
        return f"No bounds of the drops are given: {_listed(few)} (fewer than {FEWEST_UNITS:g})."
    known = [task.drop_bound for task in gating if task.drop_bound is not None]
    if len(known) < len(gating):
        return ""
    rough = [task.task for task in gating if not task.tested_by_counts]
    text = (
        f"With {'approximately ' * bool(rough)}{_confidence(decision.bound_confidence)} confidence, no gating task's "
        f"true drop exceeds {100 * max(known):.2f} points (simultaneous bounds"
    )
    if not rough:
        return f"{text})."
    unequal = [
        task
        for task in gating
        if task.effective_units is not None and task.units is not None and task.effective_units < _UNEQUAL * task.units
    ]
    note = f" Unequal clusters: {_listed(unequal)}." if unequal else ""
    return f"{text}; large-sample approximations on {', '.join(rough)}).{note}"


def _listed(tasks: list[TaskResult]) -> str:
    return "; ".join(
        f"the {task.units:,} clusters of {task.task} count as {task.effective_units:.2g} of equal size"
        for task in tasks
    )


def _confidence(level: float) -> str:
    """Return a confidence level with enough digits to distinguish it from 100 %."""
    digits = max(0, -math.floor(math.log10(1.0 - level)) - 1) if level < 1.0 else 0
    text = f"{100 * level:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"
