"""What a comparison read: one line per file that was read or left out, and how the tasks were paired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gate.samples import ModelSamples, Pairing
from gate.samples.pairing import PairedTask

_SHOWN = 5


def file_lines(side: str, samples: ModelSamples) -> list[str]:
    """Return one line per file that was read, and per file that was left out, with the reason.

    More than five files are summarised in one line. `side` begins each line.
    """
    where = side if side == samples.label else f"{side} {samples.label}"
    rows: dict[tuple[str, ...], int] = {}
    tasks: dict[tuple[str, ...], list[str]] = {}
    for name, task in samples.tasks.items():
        rows[task.files] = rows.get(task.files, 0) + task.table.num_rows
        tasks.setdefault(task.files, []).append(f"{name}: {task.metric}")
    files = list(dict.fromkeys(file for group in rows for file in group))
    total = f"{len(samples.tasks)} tasks, {sum(rows.values()):,} samples"
    if not files and samples.tasks:
        lines = [f"{where}: read its sample sets ({total})."]
    elif len(rows) > _SHOWN or any(len(group) > _SHOWN for group in rows):
        lines = [f"{where}: read {len(files)} files ({total}): {', '.join(files[:3])} and {len(files) - 3} more."]
    else:
        lines = [
            f"{where}: read {', '.join(group)} ({_named(tasks[group])}, {rows[group]:,} samples)." for group in rows
        ]
    lines += [f"{where}: left out {line}" for line in samples.left_out[:_SHOWN]]
    if len(samples.left_out) > _SHOWN:
        lines.append(f"{where}: left out {len(samples.left_out) - _SHOWN} more files.")
    return lines


def explain(pairing: Pairing, baseline: ModelSamples, candidate: ModelSamples) -> list[str]:
    """Return lines on how each task was paired: files, metric, direction, filter, items, and clusters."""
    return [line for task in pairing.tasks for line in _task_lines(task, baseline, candidate)]


def _task_lines(task: PairedTask, baseline: ModelSamples, candidate: ModelSamples) -> Iterator[str]:
    yield f"task {task.task}"
    for side, samples in (("baseline", baseline), ("candidate", candidate)):
        one = samples.tasks[task.task]
        files = f"{', '.join(one.files[:3])}{f' and {len(one.files) - 3} more' if len(one.files) > 3 else ''}"
        yield f"  {side}: {files or samples.label}, {one.table.num_rows:,} samples"
    lower = task.metric.startswith("-")
    direction = f"lower values of {task.metric[1:]} are better, so its sign is changed" if lower else "higher is better"
    chosen = baseline.tasks[task.task].facets.get("filter")
    yield f"  metric: {task.metric} ({direction}){f', filter: {chosen}' if chosen else ''}"
    clusters = "no clusters" if task.clusters is None else f"{len(np.unique(task.clusters)):,} clusters"
    yield f"  paired: {task.n:,} items, {task.left_out:,} samples left out, {clusters}"


def _named(tasks: Sequence[str]) -> str:
    return tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
