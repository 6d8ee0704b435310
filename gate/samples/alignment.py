"""Match the rows of two tables by item, never by row order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gate.errors import SampleError


@dataclass(frozen=True)
class Alignment:
    """Two tables whose rows i are the same item and repeat, and the keys that only one of them had.

    A key is an item id, or item id and repeat ("i1#0") if either side has repeats.
    """

    baseline: pa.Table
    candidate: pa.Table
    only_baseline: Sequence[str] = ()
    only_candidate: Sequence[str] = ()

    @property
    def left_out(self) -> int:
        """Number of rows without a counterpart."""
        return len(self.only_baseline) + len(self.only_candidate)


def align(task: str, baseline: pa.Table, candidate: pa.Table) -> Alignment:
    """Align the rows of a task, tables in `SAMPLE_SCHEMA`, in the baseline's order.

    Raises
    ------
    SampleError
        A side has an item (or the same repeat of it) more than once.
    """
    repeated = any(pc.max(table.column("repeat")).as_py() for table in (baseline, candidate))
    a, b = _keys(baseline, repeated), _keys(candidate, repeated)
    if a.equals(b):
        _refuse_duplicates(task, a, "baseline")
        return Alignment(baseline, candidate)
    rows = _one_to_one(a, b)
    if rows is not None:
        return Alignment(baseline, _taken(candidate, rows))
    _refuse_duplicates(task, a, "baseline")
    _refuse_duplicates(task, b, "candidate")
    a_in_b, b_in_a = pc.is_in(a, value_set=b), pc.is_in(b, value_set=a)
    common = a.filter(a_in_b)
    return Alignment(
        baseline.filter(a_in_b),
        candidate.take(pc.index_in(common, value_set=b)),
        a.filter(pc.invert(a_in_b)).to_pylist(),
        b.filter(pc.invert(b_in_a)).to_pylist(),
    )


def first_names(names: Sequence[str]) -> str:
    """Return the first three names, shortened, for a message."""
    shown = ", ".join(str(name)[:16] for name in names[:3])
    return shown + (", ..." if len(names) > 3 else "")


def _taken(table: pa.Table, rows: pa.Array) -> pa.Table:
    """Take at most as many rows as there are; a column of nulls is only cut, which is much faster."""
    columns = [
        column.slice(0, len(rows)) if column.null_count == len(column) else column.take(rows)
        for column in table.columns
    ]
    return pa.Table.from_arrays(columns, schema=table.schema)


def _keys(table: pa.Table, repeated: bool) -> pa.ChunkedArray:
    items = table.column("item_id")
    if not repeated:
        return items
    return pc.binary_join_element_wise(items, pc.cast(table.column("repeat"), pa.string()), "#")


def _one_to_one(a: pa.ChunkedArray, b: pa.ChunkedArray) -> pa.Array | None:
    """Return the row of `b` for each key of `a` if both have the same unique keys, else None.

    One hash table answers all three questions: which row, is a key missing, is a key duplicated.
    """
    if len(a) != len(b):
        return None
    rows = pc.index_in(a, value_set=b)
    if rows.null_count or np.bincount(rows.to_numpy(), minlength=len(a)).max() > 1:
        return None
    return rows


def _refuse_duplicates(task: str, keys: pa.ChunkedArray, side: str) -> None:
    if pc.count_distinct(keys).as_py() == len(keys):
        return
    duplicates = [entry["values"] for entry in pc.value_counts(keys).to_pylist() if entry["counts"] > 1]
    raise SampleError(
        f"task {task}: the {side} has {len(duplicates)} item(s) more than once: {first_names(duplicates)}.",
        "Each item may have one answer per repeat: remove the duplicates.",
    )
