"""The clusters of paired items: from the `cluster` column of either side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.errors import SampleError

_BLANK = ("", "nan", "none", "null")
"""Text that stands for a missing value; other tools write nulls and NaN so."""


def cluster_numbers(task: str, baseline: pa.Table, candidate: pa.Table) -> npt.NDArray[np.int64] | None:
    """Number the clusters of paired rows; None if no item has one.

    An item whose cluster is null or blank on both sides stands alone. One side may name the clusters that the other
    leaves out.

    Raises
    ------
    SampleError
        The two sides put an item into different clusters.
    """
    named = [_named(table.column("cluster")) for table in (baseline, candidate)]
    _refuse_conflict(task, baseline.column("item_id"), *named)
    encoded = _encoded(*named)
    if encoded is None:
        return None
    codes, _ = encoded
    single = codes < 0
    codes[single] = codes.max() + 1 + np.arange(np.count_nonzero(single))
    return codes


def names_in_several(
    tasks: Sequence[tuple[pa.Table, pa.Table]],
) -> tuple[list[npt.NDArray[np.int64] | None], list[str]]:
    """Number the clusters whose names occur in several tasks.

    Parameters
    ----------
    tasks : sequence of (baseline, candidate)
        Paired tables, one row per item.

    Returns
    -------
    numbers : list of int64 array or None
        One per task: equal numbers for items in clusters of one name, also in other tasks; -1 for other items. None for
        a task without such items.
    names : list of str
        The names, by number.
    """
    encoded = [_encoded(*(_named(table.column("cluster")) for table in tables)) for tables in tasks]
    counts = Counter(name for one in encoded if one is not None for name in one[1])
    names = [name for name, count in counts.items() if count > 1]
    numbers = {name: number for number, name in enumerate(names)}
    found: list[npt.NDArray[np.int64] | None] = []
    for one in encoded:
        if one is None or numbers.keys().isdisjoint(one[1]):
            found.append(None)
            continue
        codes, own = one
        found.append(np.array([*(numbers.get(name, -1) for name in own), -1], dtype=np.int64)[codes])
    return found, names


def _encoded(a: pa.ChunkedArray, b: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]] | None:
    """Return the number of each item's cluster, -1 for none, and the names by number; None if no item has one."""
    if a.null_count == len(a) and b.null_count == len(b):
        return None
    cluster = pc.coalesce(a, b)
    encoded = (cluster.combine_chunks() if isinstance(cluster, pa.ChunkedArray) else cluster).dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def _named(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the names of the clusters without surrounding white space, null where blank."""
    if column.null_count == len(column):
        return column
    names = pc.utf8_trim_whitespace(column)
    blank = pc.is_in(pc.utf8_lower(names), value_set=pa.array(_BLANK))
    return pc.if_else(blank, pa.scalar(None, pa.string()), names)


def _refuse_conflict(task: str, items: pa.ChunkedArray, a: pa.ChunkedArray, b: pa.ChunkedArray) -> None:
    differs = pc.fill_null(pc.not_equal(a, b), False)
    count = pc.sum(differs).as_py() or 0
    if count:
        index = pc.index(differs, True).as_py()
        raise SampleError(
            f"task {task}: {count} of {len(items)} items are in different clusters: item "
            f"{items[index].as_py()[:60]} is in {a[index].as_py()[:60]!r} in the baseline and in "
            f"{b[index].as_py()[:60]!r} in the candidate.",
            "Write the same clusters on both sides, or leave the column out on one side.",
        )
