"""The clusters of paired items: from the `cluster` column of either side."""

from __future__ import annotations

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
    cluster = pc.coalesce(*named)
    if cluster.null_count == len(cluster):
        return None
    encoded = cluster.combine_chunks() if isinstance(cluster, pa.ChunkedArray) else cluster
    indices = pc.fill_null(encoded.dictionary_encode().indices, -1)
    codes: npt.NDArray[np.int64] = indices.to_numpy(zero_copy_only=False).astype(np.int64)
    single = codes < 0
    codes[single] = codes.max() + 1 + np.arange(np.count_nonzero(single))
    return codes


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
