"""Smoothed accuracy: multiple-choice scores recomputed from the stored log-likelihoods of the choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import ndtr

from gate.common.indices import parse_index
from gate.common.lm_eval import choice_lengths
from gate.common.smoothing import BASES, Smoothing
from gate.errors import SampleError
from gate.samples.record import ModelSamples, TaskSamples

FloatArray = npt.NDArray[np.float64]


def smoothed(samples: ModelSamples, smoothing: Mapping[str, Smoothing]) -> ModelSamples:
    """Return the samples with smoothed scores for the tasks that `smoothing` names.

    The score of an item is Phi(m / s): m is the log-likelihood of the right choice minus that of the best other one,
    s the smoothing in nats, and Phi the normal distribution function. It is the accuracy on the item if m had normal
    noise of standard deviation s. For `acc_norm_smooth`, log-likelihoods are divided by the choice's length and
    multiplied by the mean length of the item's choices. `correct` tells whether the model picks the right choice, from
    which flips are counted.

    Raises
    ------
    SampleError
        An item lacks log-likelihoods of its choices, or the index of the right choice.
    """
    try:
        tasks = {
            name: _smoothed(task, smoothing[name]) if name in smoothing else task
            for name, task in samples.tasks.items()
        }
    except SampleError as error:
        error.message = f"{samples.label}: {error.message}"
        raise
    notes = [
        f"task {name}: {own.metric} is accuracy averaged over noise of {own.nats:g} nats; flips are changes of the "
        "chosen answer."
        for name, own in smoothing.items()
        if name in samples.tasks
    ]
    return replace(samples, tasks=tasks, notes=(*samples.notes, *notes))


def _smoothed(samples: TaskSamples, smoothing: Smoothing) -> TaskSamples:
    margins = choice_margins(samples, BASES[smoothing.metric])
    table = samples.table
    picked = pc.fill_null(table.column("correct"), False).to_numpy(zero_copy_only=False)
    right = np.where(margins == 0.0, picked, margins > 0.0)  # ties go to the first choice
    for name, values in (("score", _normal(margins / smoothing.nats)), ("correct", right.astype(np.bool_))):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), pa.array(values))
    facets = {**samples.facets, "metric": smoothing.metric, "smoothing": f"{smoothing.nats:g} nats"}
    return replace(samples, metric=smoothing.metric, table=table, facets=facets)


def _normal(z: FloatArray) -> FloatArray:
    """Return Phi(z), exactly 0 or 1 beyond 8 standard deviations, where tails as small as 1e-308 are only rounding."""
    return np.where(np.abs(z) > 8.0, (z > 0.0).astype(np.float64), ndtr(z))


def choice_margins(samples: TaskSamples, metric: str) -> FloatArray:
    """Return the score of the right choice minus that of the best other one, in nats, per row.

    Raises
    ------
    SampleError
        See `smoothed`.
    """
    column = samples.table.column("choice_logprobs").combine_chunks()
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    targets = _target_indices(samples.table, counts)
    missing = (counts < 2) | (targets < 0)
    if missing.any():
        item = samples.table.column("item_id")[int(np.flatnonzero(missing)[0])].as_py()
        raise SampleError(
            f"task {samples.task}: smoothed accuracy needs the log-likelihoods of at least two choices, and the index "
            f"of the right one; {np.count_nonzero(missing):,} of {len(missing):,} items lack them (e.g. {item[:16]}).",
            "Compare acc, or evaluate the task as multiple choice with `gate run`.",
        )
    scores = pc.list_flatten(column).to_numpy(zero_copy_only=False).astype(np.float64)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    if choice_lengths(metric, ()) is not None:
        scores = _per_length(samples, scores, counts, starts)
    right = scores[starts + targets]
    scores[starts + targets] = -np.inf
    others = np.maximum.reduceat(scores, starts)
    impossible = np.isneginf(right) & np.isneginf(others)
    if impossible.any():
        item = samples.table.column("item_id")[int(np.flatnonzero(impossible)[0])].as_py()
        raise SampleError(
            f"task {samples.task}: {np.count_nonzero(impossible):,} of {len(impossible):,} items have no choice with a "
            f"finite log-likelihood (e.g. {item[:16]}).",
            "Compare acc, or evaluate the task again.",
        )
    return np.asarray(right - others)


def _target_indices(table: pa.Table, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the index of the right choice of each row, given as an index or as a choice's text; -1 if unknown."""
    targets = table.column("target").to_pylist()
    indices = np.full(len(targets), -1, dtype=np.int64)
    choices = table.column("choices")
    for row, target in enumerate(targets):
        if target is None:
            continue
        if target.isdecimal():
            index = parse_index(target, counts[row])
        else:
            texts = choices[row].as_py() or ()
            index = texts.index(target) if texts.count(target) == 1 else None
        if index is not None and index < counts[row]:
            indices[row] = index
    return indices


def _per_length(
    samples: TaskSamples, scores: FloatArray, counts: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]
) -> FloatArray:
    choices = samples.table.column("choices").combine_chunks()
    sizes = pc.fill_null(pc.list_value_length(choices), 0).to_numpy(zero_copy_only=False)
    if not np.array_equal(sizes, counts):
        raise SampleError(
            f"task {samples.task}: smoothed acc_norm needs the texts of the choices, which the samples lack.",
            "Compare acc_smooth instead.",
        )
    lengths = pc.utf8_length(pc.list_flatten(choices)).to_numpy(zero_copy_only=False).astype(np.float64)
    means = np.repeat(np.add.reduceat(lengths, starts) / counts, counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(lengths > 0, scores / lengths * means, -np.inf)
