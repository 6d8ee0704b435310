"""Items that are not independent: equal prompts, and clusters with equal names in several tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.common.canonical import text_digest
from gate.samples.alignment import first_names
from gate.samples.clusters import names_in_several

if TYPE_CHECKING:
    from gate.samples.pairing import PairedTask

IntArray = npt.NDArray[np.int64]

_EMPTY = text_digest("")
_SHA256 = 64  # hexadecimal digits


def numbered(tasks: Sequence[PairedTask]) -> tuple[list[PairedTask], list[str]]:
    """Return the tasks with the numbers of equal prompts and of clusters with equal names, and notes for the user."""
    tasks, notes = list(tasks), []
    prompts = equal_prompts([_with_prompts(task) for task in tasks])
    if repeated := copies(prompts):
        tasks = [replace(task, prompts=numbers) for task, numbers in zip(tasks, prompts, strict=True)]
        notes.append(
            f"{repeated:,} of {sum(task.n for task in tasks):,} items repeat the prompt of another item; items with "
            "equal prompts count as one piece of evidence (one cluster)."
        )
    clusters, names = names_in_several([(task.baseline, task.candidate) for task in tasks])
    if names:
        tasks = [replace(task, names=numbers) for task, numbers in zip(tasks, clusters, strict=True)]
        notes.append(
            f"{len(names):,} cluster name(s) occur in several tasks ({first_names(names)}); clusters with equal names "
            "count as one. If they are unrelated, begin their names with the task's name."
        )
    return tasks, notes


def _with_prompts(task: PairedTask) -> pa.Table:
    """Return the side that records the prompts."""
    hashes = task.baseline.column("prompt_hash")
    return task.candidate if hashes.null_count == len(hashes) else task.baseline


def equal_prompts(tasks: Sequence[pa.Table]) -> list[IntArray | None]:
    """Number the prompts that occur more than once, over all tasks.

    Parameters
    ----------
    tasks : sequence of pyarrow.Table
        Rows in `SAMPLE_SCHEMA`, one per item.

    Returns
    -------
    list of int64 array or None
        One per task: equal numbers for items with equal prompts, also in other tasks; -1 for an item whose prompt
        occurs once or is unknown. None for a task without such items.

    Notes
    -----
    Prompts are equal if the text sent to the model, the question and the choices are. An empty prompt counts as
    unknown. Items of one task whose prompts are equal but whose targets differ are not joined: the prompt is then not
    all that the model saw (an image), or they cannot both be answered right, and counting them as independent is
    conservative.
    """
    hashes = pa.chunked_array([chunk for table in tasks for chunk in table.column("prompt_hash").chunks], pa.string())
    rows = _suspects(hashes)
    codes = _codes(hashes.take(pa.array(rows)))
    repeated = _repeated(codes)
    rows, codes = rows[repeated], codes[repeated]
    if not rows.size:
        return [None] * len(tasks)
    starts = np.cumsum([0, *(table.num_rows for table in tasks)])
    keys = _refined(tasks, starts, rows, codes)
    keys = _without_other_targets(tasks, starts, rows, keys)
    keys = np.where(_repeated(keys), keys, -1)
    numbers = np.full(starts[-1], -1, np.int64)
    numbers[rows] = np.where(keys < 0, -1, np.unique(keys, return_inverse=True)[1])
    split = [numbers[start:end] for start, end in pairwise(starts.tolist())]
    return [part if (part >= 0).any() else None for part in split]


def copies(prompts: Sequence[IntArray | None]) -> int:
    """Return how many items repeat the prompt of an earlier one."""
    numbers = np.concatenate([part[part >= 0] for part in prompts if part is not None] or [np.zeros(0, np.int64)])
    return len(numbers) - len(np.unique(numbers))


def _suspects(hashes: pa.ChunkedArray) -> IntArray:
    """Return the rows whose value another row may have: all, or those with equal digests where all are SHA-256."""
    if hashes.null_count == len(hashes):
        return np.zeros(0, np.int64)
    parts = [_digests(chunk) for chunk in hashes.chunks if len(chunk)]
    if any(part is None for part in parts):
        return np.arange(len(hashes))
    digests = np.concatenate([part for part in parts if part is not None])
    ordered = np.sort(digests)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(digests, repeated)) if repeated.size else np.zeros(0, np.int64)


def _digests(chunk: pa.Array) -> npt.NDArray[np.uint64] | None:
    """Return 64 bits of each SHA-256; None if the chunk has other values."""
    if chunk.null_count:
        return None
    offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    if np.any(np.diff(offsets) != _SHA256):
        return None
    text = np.frombuffer(chunk.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    words = text.view(np.uint64).reshape(len(chunk), -1)
    # eight hexadecimal digits have 32 varying bits; odd factors spread those of two words over one
    digests: npt.NDArray[np.uint64] = words[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ words[:, 1] * np.uint64(
        0xC2B2AE3D27D4EB4F
    )
    return digests


def _codes(values: pa.ChunkedArray) -> IntArray:
    """Return equal numbers for equal values, -1 for null and for the hash of an empty text."""
    encoded = pc.dictionary_encode(values).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    codes: IntArray = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = pc.index(encoded.dictionary, _EMPTY).as_py()
    if empty >= 0:
        codes[codes == empty] = -1
    return codes


def _repeated(codes: IntArray) -> npt.NDArray[np.bool_]:
    """Return which codes, of those that are not negative, occur more than once."""
    if not codes.size or codes.max() < 0:
        return np.zeros(codes.size, np.bool_)
    counts = np.bincount(codes[codes >= 0])
    repeated: npt.NDArray[np.bool_] = (codes >= 0) & (counts[np.maximum(codes, 0)] > 1)
    return repeated


def _refined(tasks: Sequence[pa.Table], starts: IntArray, rows: IntArray, codes: IntArray) -> IntArray:
    """Split the numbers of equal prompts by question and choices."""
    keys = codes
    for name in ("prompt", "choices"):
        column = _taken(tasks, starts, rows, name)
        if name == "choices":
            column = pc.binary_join(column, "\x1f")
        if column.null_count < len(column):
            keys = _paired(keys, _codes(pa.chunked_array([column])) + 1)
    return keys


def _without_other_targets(tasks: Sequence[pa.Table], starts: IntArray, rows: IntArray, keys: IntArray) -> IntArray:
    """Set the numbers of items to -1 whose prompt has several targets in their task."""
    target = _codes(pa.chunked_array([_taken(tasks, starts, rows, "target")]))
    task = np.searchsorted(starts, rows, side="right") - 1
    prompt = _paired(keys, task)
    known = target >= 0
    low, high = np.full(prompt.max(initial=0) + 1, np.iinfo(np.int64).max), np.full(prompt.max(initial=0) + 1, -1)
    np.minimum.at(low, prompt[known], target[known])
    np.maximum.at(high, prompt[known], target[known])
    ambiguous = (high >= 0) & (low != high)
    return np.where(ambiguous[prompt], -1, keys)


def _taken(tasks: Sequence[pa.Table], starts: IntArray, rows: IntArray, name: str) -> pa.Array:
    """Return a column's values in the given rows of all tasks."""
    parts = []
    for table, start, end in zip(tasks, starts[:-1], starts[1:], strict=True):
        here = rows[(rows >= start) & (rows < end)] - start
        parts.append(table.column(name).take(pa.array(here)).combine_chunks())
    arrays = [array for part in parts for array in (part.chunks if isinstance(part, pa.ChunkedArray) else [part])]
    return pa.concat_arrays(arrays)


def _paired(a: IntArray, b: IntArray) -> IntArray:
    """Return equal numbers for equal pairs of numbers."""
    numbers: IntArray = np.unique(a * (int(b.max(initial=0)) + 1) + b, return_inverse=True)[1].astype(np.int64)
    return numbers


def join_duplicates(tasks: Sequence[PairedTask]) -> list[PairedTask]:
    """Return the tasks with what is not independent in one cluster, within and across these tasks.

    Joined are items with equal prompts, and clusters with equal names in several tasks. A cluster in several tasks has
    one number in `PairedTask.shared` of each of them. Clusters of one item each are independent items.
    """
    groups = [_of_several([task.prompts for task in tasks]), _of_several([task.names for task in tasks])]
    if all(group is None for kind in groups for group in kind):
        return [replace(task, clusters=without_single_items(task.clusters)) for task in tasks]
    units = [np.arange(task.n) if task.clusters is None else task.clusters for task in tasks]
    starts = np.cumsum([0, *(int(unit.max()) + 1 for unit in units)])
    units = [unit + start for unit, start in zip(units, starts, strict=False)]
    labels = _components(units, groups, int(starts[-1]))
    number = 1 + max(int(label.max()) for label in labels)
    present = [np.bincount(label, minlength=number) > 0 for label in labels]
    spanning = np.sum(present, axis=0) > 1
    joined = []
    for task, label, own in zip(tasks, labels, present, strict=True):
        local = (np.cumsum(own) - 1)[label]
        shared = np.where(spanning[label], label, -1) if (spanning & own).any() else None
        joined.append(replace(task, clusters=without_single_items(local), shared=shared))
    return joined


def without_single_items(clusters: IntArray | None) -> IntArray | None:
    """Return the clusters, numbered from 0 without gaps; None if each has one item."""
    return None if clusters is None or int(clusters.max(initial=-1)) + 1 == len(clusters) else clusters


def _of_several(groups: Sequence[IntArray | None]) -> list[IntArray | None]:
    """Drop numbers that only one item has; None for a task without any other."""
    present = [group[group >= 0] for group in groups if group is not None]
    counts = np.bincount(np.concatenate(present)) if present else np.zeros(0, np.int64)
    if not (counts > 1).any():
        return [None] * len(groups)
    kept = []
    for group in groups:
        if group is not None:
            group = np.where((group >= 0) & (counts[np.maximum(group, 0)] > 1), group, -1)
        kept.append(group if group is not None and (group >= 0).any() else None)
    return kept


def _components(units: Sequence[IntArray], groups: Sequence[Sequence[IntArray | None]], nodes: int) -> list[IntArray]:
    """Return the number of the connected component of each item: units joined by prompts and by names.

    Parameters
    ----------
    groups : sequence of sequence of int64 array or None
        Per kind of group and task, the group of each item, -1 for none.
    nodes : int
        Number of units.
    """
    # takes 20 ms, which comparisons without duplicates save
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges: list[tuple[IntArray, IntArray]] = []
    size = nodes  # groups are further nodes, after the units
    for kind in groups:
        present = [
            (unit[group >= 0], group[group >= 0]) for unit, group in zip(units, kind, strict=True) if group is not None
        ]
        edges += [(unit, size + group) for unit, group in present]
        size += 1 + max((int(group.max()) for _, group in present), default=-1)
    ends = tuple(np.concatenate(column) for column in zip(*edges, strict=True))
    graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(size, size))
    labels = connected_components(graph, directed=False)[1].astype(np.int64)
    return [labels[unit] for unit in units]
