"""Small Parquet files that stand for many gigabytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def repeated_text(rows: int, mebibytes: int) -> pa.Array:
    """Return a column in which every row refers to one long text."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * (mebibytes << 20)]))


def write_bomb(path: Path, rows: int = 2_000, mebibytes: int = 10) -> Path:
    """Write samples whose outputs take rows x mebibytes MiB."""
    table = pa.table(
        {
            "task": ["t"] * rows,
            "item_id": [str(number) for number in range(rows)],
            "output": repeated_text(rows, mebibytes),
            "target": ["x"] * rows,
            "correct": [0] * rows,
        }
    )
    pq.write_table(table, path, compression="zstd")
    return path
