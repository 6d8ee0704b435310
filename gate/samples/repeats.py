"""Repeated answers to one item, which are not independent: their mean is the item's score."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gate.samples.broken import joined_problems


def averaged(table: pa.Table) -> tuple[pa.Table, int]:
    """Return one row per item, and the number of answers per item.

    The score is the mean over the repeats, and the problems are those of any repeat. The other columns are those of the
    first repeat.
    """
    if not pc.max(table.column("repeat")).as_py():
        return table, 1
    codes = table.column("item_id").combine_chunks().dictionary_encode().indices.to_numpy()
    count = int(codes.max()) + 1
    means = np.bincount(codes, table.column("score").to_numpy(), count) / np.bincount(codes, minlength=count)
    first = np.full(count, -1)
    order = np.lexsort((table.column("repeat").to_numpy(), codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    first[codes[order][starts]] = order[starts]
    rows = table.take(first)
    rows = rows.set_column(rows.schema.get_field_index("score"), "score", pa.array(means))
    problems: list[list[str | None]] = [[] for _ in range(count)]
    for code, text in zip(codes.tolist(), table.column("problems").to_pylist(), strict=True):
        problems[code].append(text)
    joined = pa.array(map(joined_problems, problems), pa.string())
    rows = rows.set_column(rows.schema.get_field_index("problems"), "problems", joined)
    return rows, round(len(codes) / count)
