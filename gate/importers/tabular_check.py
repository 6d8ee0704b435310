"""Rows of a table that cannot be compared: without a name, with an odd repeat, or without a finite score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gate.errors import SampleError
from gate.importers.build import refuse_unscored
from gate.importers.files import shorten

PLACE = "__row"  # column: position of a row among those of all files


def refuse_nameless(table: pa.Table, path: Path) -> None:
    """Raise SampleError if a row has no task or no item_id."""
    for name in ("task", "item_id"):
        empty = pc.or_kleene(pc.is_null(table.column(name)), pc.equal(table.column(name), ""))
        rows = np.flatnonzero(pc.fill_null(empty, True).to_numpy())
        if len(rows):
            raise SampleError(
                f"{path}: {len(rows)} rows have no {name}, the first: {shorten([str(row + 1) for row in rows])}.",
                "Each row needs a task and an item_id.",
            )


def refuse_odd_repeats(table: pa.Table, path: Path) -> None:
    """Raise SampleError if `repeat` is not a number from 0 to 2**31 - 1 everywhere."""
    if "repeat" not in table.column_names:
        return
    values = table.column("repeat")
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.and_(pc.greater_equal(values, 0), pc.less(values, 2**31)))
    odd = pc.invert(pc.fill_null(whole, False))
    hint = "Number the answers to the same item 0, 1, 2, ..., or leave the column out."
    _refuse(table, odd, "repeat", "not a non-negative integer", path, hint)


class Places:
    """Names file and row of a sample by its position in the table of all files."""

    def __init__(self, tables: Mapping[Path, pa.Table]) -> None:
        self._files = list(tables)
        self._ends = np.cumsum([table.num_rows for table in tables.values()])

    def name(self, position: int) -> str:
        """Return e.g. "base.csv, row 3"; rows are numbered from 1, without the header."""
        file = int(np.searchsorted(self._ends, position, side="right"))
        start = int(self._ends[file - 1]) if file else 0
        return f"{self._files[file].name}, row {position - start + 1}"


def refuse_scores(table: pa.Table, column: str, path: Path, places: Places) -> None:
    """Raise SampleError if a score is missing, NaN or infinite, or `correct` is neither 0 nor 1."""
    scores = table.column(column)
    unscored = table.filter(pc.is_null(scores, nan_is_null=True))
    at = unscored.column(PLACE).to_pylist()
    names = [f"{name} ({places.name(row)})" for name, row in zip(_names(unscored), at, strict=True)]
    refuse_unscored(names, table.num_rows, f"{path}: column {column}")
    infinite = table.filter(pc.is_inf(scores)).column(PLACE)
    fault = f"infinite (first in {places.name(infinite[0].as_py())})" if len(infinite) else ""
    _refuse(table, pc.is_inf(scores), column, fault, path, "Scores must be finite.")
    if column == "correct":
        graded = pc.and_(pc.not_equal(scores, 0.0), pc.not_equal(scores, 1.0))
        hint = "Name the column `score` if scores are not binary."
        _refuse(table, graded, column, "neither 0 nor 1", path, hint)


def _refuse(table: pa.Table, wrong: pa.ChunkedArray, column: str, fault: str, path: Path, hint: str) -> None:
    """Raise SampleError if any row is wrong, with the number of such rows and the first of them."""
    rows = table.filter(wrong)
    if rows.num_rows:
        raise SampleError(
            f"{path}: {column} is {fault} in {rows.num_rows} of {table.num_rows} rows, e.g. "
            f"{rows.column(column)[0].as_py()} at {_names(rows)[0]}.",
            hint,
        )


def _names(table: pa.Table) -> Sequence[str]:
    """Return task/item_id of each row."""
    return [f"{row['task']}/{row['item_id']}" for row in table.select(["task", "item_id"]).to_pylist()]
