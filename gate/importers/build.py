"""From imported columns and values to the samples of one task."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gate.errors import SampleError
from gate.importers.files import shorten
from gate.samples.record import SAMPLE_SCHEMA, TaskSamples

SCORE_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
NONFINITE = "The model computed NaN (an overflow in float16, or a broken quantisation). Fix it, and evaluate again."
NO_SCORE = ("", "none", "null", "nan", "na", "n/a")


def task_samples(
    task: str,
    metric: str,
    columns: Mapping[str, Any],
    facets: Mapping[str, str] | None = None,
    files: Sequence[Path] = (),
    named_after_file: bool = False,
) -> TaskSamples:
    """Build the samples of one task from arrays or lists.

    At least `item_id` and `score` (finite) are needed. Other columns of `SAMPLE_SCHEMA` default to null, `repeat` to 0.
    `correct` is derived from the scores: null unless every score of the task is 0 or 1.
    """
    scores = np.asarray(columns["score"], dtype=np.float64)
    rows = len(scores)
    right = scores == 1.0
    binary = bool(np.all(right | (scores == 0.0)))
    values = {
        "repeat": pa.repeat(pa.scalar(0, pa.int32()), rows),
        **{name: column for name, column in columns.items() if column is not None},
        "task": pa.repeat(pa.scalar(task, pa.string()), rows),
        "metric": pa.repeat(pa.scalar(metric, pa.string()), rows),
        "score": pa.array(scores),
        "correct": pa.array(right) if binary else pa.nulls(rows, pa.bool_()),
    }
    arrays = [_column(values.get(field.name), field, rows, task) for field in SAMPLE_SCHEMA]
    table = pa.Table.from_arrays(arrays, schema=SAMPLE_SCHEMA)
    names = tuple(path.name for path in files)
    return TaskSamples(task, metric, table, dict(facets or {}), files=names, named_after_file=named_after_file)


def _column(values: Any, field: pa.Field, rows: int, task: str) -> pa.Array | pa.ChunkedArray:
    if values is None:
        return _nulls(rows, field.type)
    try:
        if isinstance(values, pa.Array | pa.ChunkedArray):
            return values if values.type == field.type else values.cast(field.type)
        return pa.array(values, field.type)
    except (OverflowError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise SampleError(
            f"task {task}: a value of {field.name} does not fit {field.type}: {reason}.",
            "Check whether the file was damaged.",
        ) from None


@functools.lru_cache(maxsize=64)
def _nulls(rows: int, kind: pa.DataType) -> pa.Array:
    """Return nulls; tasks of equal size share them, because null lists and strings take memory too."""
    return pa.nulls(rows, kind)


def refuse_unscored(
    unscored: Sequence[str], total: int, where: str, reason: str = "have no score (null, NaN or an error)"
) -> None:
    """Raise SampleError if any of `total` samples has no score: such a sample is neither right nor wrong.

    `unscored` are the names of these samples; `where` and `reason` are for the message.
    """
    if unscored:
        raise SampleError(
            f"{where}: {len(unscored)} of {total} samples {reason}, the first: {shorten(unscored)}.",
            "Evaluate these samples again. If they should not count, remove their rows from both files.",
        )


def parse_score(
    value: object, metric: str, where: str, expected: str = "a finite number or true/false"
) -> float | None:
    """Return a logged value (a number, a boolean, or either as text) as a score; None if it is absent or NaN.

    `metric`, `where` and `expected` are for the message.

    Raises
    ------
    SampleError
        The value is not a finite number.
    """
    number, score = value, math.inf
    if isinstance(value, str):
        word = value.strip().lower()
        number = None if word in NO_SCORE else SCORE_WORDS.get(word, word)
    if number is None:
        return None
    if isinstance(number, int | float | str):
        with suppress(ValueError, OverflowError):  # not a number, or an integer of 400 digits
            score = float(number)
    if math.isinf(score):
        shown = repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
        raise SampleError(
            f"{where}: {metric} is {shown[:60]}; expected {expected}.",
            "Choose another metric with --metric NAME, or evaluate this sample again.",
        )
    return None if math.isnan(score) else score
