"""Paired tasks from scores or counts, for tests of the decision."""

from __future__ import annotations

from typing import Any

from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, pair


def scored(task: str, baseline: list[float], candidate: list[float], clusters: list[str] | None = None) -> PairedTask:
    """A task with one score per item on both sides."""
    sides = []
    for scores in (baseline, candidate):
        columns: dict[str, Any] = {"item_id": [f"i{n}" for n in range(len(scores))], "score": scores}
        if clusters is not None:
            columns["cluster"] = clusters
        sides.append(ModelSamples("m", {task: task_samples(task, "acc", columns)}))
    return pair(*sides).tasks[0]


def counted(task: str, b: int, c: int, n: int) -> PairedTask:
    """A task of n binary items: b regressions, c improvements, half of the others right."""
    right = (n - b - c) // 2
    wrong = n - b - c - right
    baseline = [1.0] * b + [0.0] * c + [1.0] * right + [0.0] * wrong
    candidate = [0.0] * b + [1.0] * c + [1.0] * right + [0.0] * wrong
    return scored(task, baseline, candidate)
