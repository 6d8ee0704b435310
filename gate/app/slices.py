"""The values by which files are sliced: columns of the baseline's file, or fields of a task's documents."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gate.decision.slices import SliceValues
from gate.errors import ConfigError, SampleError
from gate.samples import ModelSamples

if TYPE_CHECKING:
    from gate.config import LoadedConfig, TaskSettings


def slices_of_columns(baseline: object, columns: Sequence[str]) -> SliceValues:
    """Return the values of columns of the baseline's file.

    Raises
    ------
    ConfigError, SampleError
        The baseline is no file, or the file has no such column.
    """
    if not isinstance(baseline, str | os.PathLike):
        raise ConfigError("slices need the baseline's file: pass its path.")
    from gate.importers.slice_columns import slice_columns

    return slice_columns(Path(baseline), columns)


def slices_of_config(
    loaded: LoadedConfig, baseline: object, samples: ModelSamples, names: Sequence[str] | None
) -> tuple[SliceValues, list[str]]:
    """Return the values for the `slices` of the tasks of a gate.yml, and notes on those that are unknown.

    They are fields of the task's documents where `samples` were evaluated on these, else columns of the baseline's
    file.

    Raises
    ------
    TaskError
        A document lacks a field.
    """
    values: dict[str, Mapping[str, Mapping[str, object]]] = {}
    notes = []
    for task in loaded.config.tasks:
        if not task.slices or task.name not in samples.tasks or (names is not None and task.name not in names):
            continue
        items = set(samples.tasks[task.name].table.column("item_id").to_pylist())
        found = _of_documents(task, loaded.folder, items)
        if found is None:
            try:
                found = slices_of_columns(baseline, task.slices)[task.name]
            except (ConfigError, SampleError, KeyError):
                notes.append(
                    f"task {task.name}: its slices are left out: the baseline's file has no column "
                    f"{' or '.join(task.slices)}, and the items are not the documents of the task's file."
                )
                continue
        values[task.name] = found
    return values, notes


def _of_documents(task: TaskSettings, folder: Path, items: set[str]) -> Mapping[str, Mapping[str, object]] | None:
    """Return the fields of the documents by name and item id; None if the items are others."""
    if task.file is None or not (folder / task.file).is_file():
        return None
    from gate.tasks.documents import read_documents, slice_values

    documents = [document for document in read_documents(folder / task.file) if document.item_id in items]
    return slice_values(documents, task.slices) if documents else None
