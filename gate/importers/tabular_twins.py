"""Tables of one folder that answer the same items: two models, or two runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gate.errors import SampleError

_KEYS = ("task", "item_id", "repeat", "metric")


def refuse_repeated_items(path: Path, tables: Mapping[Path, pa.Table]) -> None:
    """Raise SampleError if two files of a folder have the same item of a task."""
    seen: list[tuple[Path, pa.Array]] = []
    for file, table in tables.items() if len(tables) > 1 else ():
        keys = _keys(table)
        for other, earlier in seen:
            common = keys.filter(pc.is_in(keys, value_set=earlier))
            if len(common):
                task, item = common[0].as_py().split("\x1f")[:2]
                raise SampleError(
                    f"{path}: {other.name} and {file.name} both have {len(common)} of the same items, e.g. "
                    f"{task}/{item}. They look like answers of two models, or of two runs.",
                    "Keep one model per folder, or pass one of the files.",
                )
        seen.append((file, keys))


def _keys(table: pa.Table) -> pa.Array:
    columns = [
        pc.fill_null(pc.cast(table.column(name), pa.string()), "") for name in _KEYS if name in table.column_names
    ]
    return pc.binary_join_element_wise(*columns, "\x1f").combine_chunks()
