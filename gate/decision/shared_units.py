"""The items of several candidates as units that share a random sign: one per item, or per cluster of items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gate.decision.rows import Judged
from gate.stats import SharedUnits, sums_of_units

IntArray = npt.NDArray[np.int64]


def shared_units(candidates: Sequence[Sequence[Judged]]) -> list[SharedUnits]:
    """Return the differences of all candidates, by units that are independent of each other.

    Parameters
    ----------
    candidates : sequence of sequence of Judged
        The gating tasks of each candidate.

    Returns
    -------
    list of SharedUnits
        One per task; one for all tasks where a cluster spans several.

    Notes
    -----
    Items are matched by task and item id. Items that are in one cluster for any candidate are one unit for all.
    """
    columns = [(number, task) for number, tasks in enumerate(candidates) for task in tasks]
    names = list(dict.fromkeys(task.pair.task for _, task in columns))
    items = {name: _items([task for _, task in columns if task.pair.task == name]) for name in names}
    starts = dict(zip(names, np.cumsum([0, *(max(map(_size, items[name])) for name in names)]).tolist(), strict=False))
    position = dict.fromkeys(names, 0)
    rows = []
    for _, task in columns:  # the item numbers of each column, unique over all tasks
        name = task.pair.task
        rows.append(items[name][position[name]] + starts[name])
        position[name] += 1
    units = _units(columns, rows, starts[names[-1]] + max(map(_size, items[names[-1]])))
    of_task = {name: [index for index, (_, task) in enumerate(columns) if task.pair.task == name] for name in names}
    labels = [np.unique(np.concatenate([units[rows[index]] for index in of_task[name]])) for name in names]
    spanning = np.bincount(np.concatenate(labels)).max() > 1
    groups = [list(range(len(columns)))] if spanning else list(of_task.values())
    return [_block([columns[index] for index in group], [units[rows[index]] for index in group]) for group in groups]


def _size(numbers: IntArray) -> int:
    return int(numbers.max(initial=-1)) + 1


def _items(tasks: Sequence[Judged]) -> list[IntArray]:
    """Number the items of one task: equal numbers for equal item ids of different candidates."""
    ids = [task.pair.baseline.column("item_id") for task in tasks]
    if all(other.equals(ids[0]) for other in ids[1:]):
        return [np.arange(len(ids[0]), dtype=np.int64)] * len(ids)
    together = pa.chunked_array([chunk for one in ids for chunk in one.chunks], pa.string()).combine_chunks()
    if isinstance(together, pa.ChunkedArray):  # too large for one array
        together = pa.concat_arrays(together.chunks)
    numbers = together.dictionary_encode().indices.to_numpy().astype(np.int64)
    return np.split(numbers, np.cumsum([len(one) for one in ids])[:-1])


def _units(columns: Sequence[tuple[int, Judged]], rows: Sequence[IntArray], size: int) -> IntArray:
    """Return the unit of each item: connected items, where clusters connect, also those over several tasks."""
    edges: list[tuple[IntArray, IntArray]] = []
    nodes = size
    first: dict[int, int] = {}  # the numbers of shared clusters are one candidate's own
    for (candidate, task), own in zip(columns, rows, strict=True):
        if task.pair.clusters is not None:
            edges.append((own, task.pair.clusters + nodes))
            nodes += _size(task.pair.clusters)
        if task.pair.shared is not None:
            if candidate not in first:
                first[candidate] = nodes
                nodes += max(_size(other.pair.shared) for number, other in columns
                             if number == candidate and other.pair.shared is not None)  # fmt: skip
            known = task.pair.shared >= 0
            edges.append((own[known], task.pair.shared[known] + first[candidate]))
    if not edges:
        return np.arange(size, dtype=np.int64)
    # takes 20 ms, which comparisons without clusters save
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = [np.concatenate(side) for side in zip(*edges, strict=True)]
    graph = coo_array((np.ones(len(ends[0]), np.int8), tuple(ends)), shape=(nodes, nodes))
    labels: IntArray = connected_components(graph, directed=False)[1][:size].astype(np.int64)
    return labels


def _block(columns: Sequence[tuple[int, Judged]], units: Sequence[IntArray]) -> SharedUnits:
    """Return the differences of the given columns by unit; `units` has the unit of each row of each column."""
    distinct, numbers = np.unique(np.concatenate(units), return_inverse=True)
    sums = np.zeros((len(distinct), len(columns)))
    start = 0
    for column, (_, task) in enumerate(columns):
        own = numbers[start : start + task.pair.n]
        start += task.pair.n
        differences = task.pair.baseline_score - task.pair.candidate_score
        part = sums_of_units(differences[:, None], own)[:, 0]
        sums[: len(part), column] = part
    return SharedUnits(
        sums,
        np.array([candidate for candidate, _ in columns], dtype=np.int64),
        np.array([task.evidence.scale for _, task in columns]),
    )
