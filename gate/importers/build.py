"""From columns of any origin to the table of one task in `SAMPLE_SCHEMA`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gate.errors import SampleError
from gate.importers.choose import shorten
from gate.samples.record import SAMPLE_SCHEMA, TaskSamples

_YES = {"true": 1.0, "yes": 1.0}
_NO = {"false": 0.0, "no": 0.0}


def task_samples(
    task: str, metric: str, columns: Mapping[str, Any], facets: Mapping[str, str] | None = None
) -> TaskSamples:
    """Build the samples of one task.

    Parameters
    ----------
    task, metric : str
    columns : mapping of str to array or list
        `item_id` and `score` (finite) at least; columns of `SAMPLE_SCHEMA` that are left out become null,
        `repeat` 0. `correct` is derived: set where every score of the task is 0 or 1.
    facets : mapping, optional
    """
    scores = np.asarray(columns["score"], dtype=np.float64)
    rows = len(scores)
    binary = bool(np.all((scores == 0.0) | (scores == 1.0)))
    made: dict[str, Any] = {
        "task": pa.repeat(pa.scalar(task, pa.string()), rows),
        "metric": pa.repeat(pa.scalar(metric, pa.string()), rows),
        "score": pa.array(scores),
        "repeat": pa.repeat(pa.scalar(0, pa.int32()), rows),
    }
    if binary:
        made["correct"] = pa.array(scores == 1.0)
    arrays = []
    for field in SAMPLE_SCHEMA:
        values = (
            made.get(field.name) if field.name in ("score", "metric", "task") else columns.get(field.name)
        )
        values = made.get(field.name) if values is None else values
        if values is None:
            arrays.append(pa.nulls(rows, field.type))
        elif isinstance(values, pa.Array | pa.ChunkedArray):
            arrays.append(values if values.type == field.type else values.cast(field.type))
        else:
            arrays.append(pa.array(values, field.type))
    table = pa.Table.from_arrays(arrays, schema=SAMPLE_SCHEMA)
    return TaskSamples(task, metric, table, dict(facets or {}))


def refuse_unscored(
    count: int, total: int, first: Sequence[str], where: str, why: str = "have no score"
) -> None:
    """Raise a SampleError where samples have no score; an unscored sample is neither right nor wrong."""
    if count:
        raise SampleError(
            f"{where}: {count} of {total} samples {why} (null, NaN or an error), the first: {shorten(first)}.",
            "Evaluate these again, or remove their rows from both files if they were never meant to count.",
        )


def number(value: object) -> float | None:
    """Return a score as a float: booleans, numbers and their text; None where it is absent or NaN.

    Raises
    ------
    ValueError
        Not a number, or infinite.
    """
    if value is None:
        return None
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("", "none", "null", "nan"):
            return None
        result = _YES.get(word, _NO.get(word, math.inf))
        result = float(word) if result == math.inf else result
    elif isinstance(value, int | float):
        result = float(value)
    else:
        raise ValueError(f"a {type(value).__name__}")
    if math.isinf(result):
        raise ValueError("an infinite value")
    return None if math.isnan(result) else result


def source_files(paths: Sequence[Path]) -> list[dict[str, object]]:
    """Return name, size in bytes and SHA-256 of the files read, for the audit trail."""
    entries: list[dict[str, object]] = []
    for path in paths:
        with path.open("rb") as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
        entries.append({"name": path.name, "bytes": path.stat().st_size, "sha256": sha256})
    return entries
