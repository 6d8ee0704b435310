"""Pair tasks whose names are only those of their files: `baseline.jsonl` and `awq.jsonl` may hold the same task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from gate.errors import SampleError
from gate.samples.record import ModelSamples, TaskSamples

_ALIKE = 0.5  # share of the smaller side's items that both sides must have


def with_names_of(baseline: ModelSamples, candidate: ModelSamples) -> ModelSamples:
    """Return the candidate's samples, with tasks renamed to those of the baseline where both hold the same items.

    Only tasks that one side has are renamed, if their name is that of a file on both sides, and exactly one fits.

    Raises
    ------
    SampleError
        Both sides have one task, each named after its file, and no item in common.
    """
    wanted = [task for name, task in baseline.tasks.items() if name not in candidate.tasks and task.named_after_file]
    free = [task for name, task in candidate.tasks.items() if name not in baseline.tasks and task.named_after_file]
    if not wanted or not free:
        return candidate
    names: dict[str, str] = {}
    for ours in wanted:
        fitting = [theirs for theirs in free if _common(ours, theirs, "item_id", "prompt_hash") >= _ALIKE]
        fitting = fitting or [theirs for theirs in free if _common(ours, theirs, "item_id") >= _ALIKE]
        if len(fitting) == 1 and fitting[0].task not in names:
            names[fitting[0].task] = ours.task
    if not names and len(baseline.tasks) == len(candidate.tasks) == 1:
        raise SampleError(
            f"{_file(wanted[0])} and {_file(free[0])} have no item in common: they are not answers to the same task.",
            "Pass two files of one task, evaluated on the same documents.",
        )
    tasks = {names.get(name, name): _renamed(task, names.get(name, name)) for name, task in candidate.tasks.items()}
    notes = [f"{new}: paired with {old} of the candidate, which has the same documents." for old, new in names.items()]
    return replace(candidate, tasks=tasks, notes=(*candidate.notes, *notes))


def _common(ours: TaskSamples, theirs: TaskSamples, *columns: str) -> float:
    """Return the share of the smaller side's items that both have, 0 to 1."""
    a, b = _items(ours, columns), _items(theirs, columns)
    return len(a & b) / max(min(len(a), len(b)), 1)


def _items(samples: TaskSamples, columns: Sequence[str]) -> set[tuple[str | None, ...]]:
    return set(zip(*(samples.table.column(name).to_pylist() for name in columns), strict=True))


def _renamed(samples: TaskSamples, task: str) -> TaskSamples:
    if samples.task == task:
        return samples
    table = samples.table
    index = table.schema.get_field_index("task")
    column = pa.repeat(pa.scalar(task, pa.string()), table.num_rows)
    return replace(samples, task=task, table=table.set_column(index, table.schema.field(index), column))


def _file(samples: TaskSamples) -> str:
    return samples.files[0] if samples.files else samples.task
