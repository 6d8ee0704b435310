"""How reports write slices."""

from __future__ import annotations

from gate.decision import wording
from gate.decision.result import Decision, TaskResult
from gate.decision.slice_result import SliceResult

MOST_SLICES = 50
"""Slices in the HTML report."""


def slices_title(decision: Decision, shown: int) -> str:
    """Return the title of a table of slices."""
    total = len(decision.slices)
    which = "The worst slice first" if shown == total else f"The worst {shown} of {total} slices"
    return f"{which}; advisory, Holm-adjusted over all {wording.count(total, 'slice')}"


def slice_level(decision: Decision, row: SliceResult, score: float) -> str:
    """Return a mean score of a slice in its task's unit."""
    return wording.level(_task(decision, row), score)


def slice_drop(decision: Decision, row: SliceResult) -> str:
    """Return the drop of a slice with its unit."""
    task = _task(decision, row)
    return f"{wording.change(task, row.drop)} {wording.unit(task)}"


def _task(decision: Decision, row: SliceResult) -> TaskResult:
    return next(task for task in decision.tasks if task.task == row.task)
