"""Columns for slices from CSV, JSON, JSONL and Parquet files of samples."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from gate.common.compressed import read_bytes
from gate.common.jsonlines import json_lines
from gate.common.parquet import TooLargeError, read_rows
from gate.errors import SampleError
from gate.importers.csv_source import csv_source
from gate.importers.files import LINES, files_below, suffix_of
from gate.samples.record import SAMPLE_SCHEMA

_PARQUET = (".parquet", ".pq")
_QUESTIONS = frozenset(
    ("task", "item_id", "prompt_hash", "metric", "target", "cluster", "tokens_in", "prompt", "choices", "text_words",
     "text_bytes")
)  # fmt: skip
_ANSWERS = frozenset(SAMPLE_SCHEMA.names) - _QUESTIONS
_SUFFIXES = (*LINES, ".json", *_PARQUET, ".csv", ".tsv")


def slice_columns(path: Path, names: Sequence[str]) -> dict[str, dict[str, dict[str, object]]]:
    """Return the values of columns by task, column and item id.

    Raises
    ------
    SampleError
        A column holds answers, no file has it, or a file cannot be read.
    """
    if answers := [name for name in names if name in _ANSWERS]:
        raise SampleError(
            f"the column {answers[0]!r} holds the baseline's answers, and cannot make slices: where an item was chosen "
            "because the baseline got it right, an equal candidate looks worse.",
            "Slice by properties of the questions.",
        )
    files = files_below(path, _SUFFIXES) if path.is_dir() else [path]
    values: dict[str, dict[str, dict[str, object]]] = {}
    seen: set[str] = set()
    for file in files:
        for row in _rows(file, ("task", "item_id", *names)):
            if row.get("task") is None or row.get("item_id") is None:
                continue
            for name in names:
                if name in row:
                    seen.add(name)
                    by_item = values.setdefault(_text(row["task"]), {}).setdefault(name, {})
                    by_item[_text(row["item_id"])] = row[name]
    if missing := [name for name in names if name not in seen]:
        raise SampleError(
            f"{path}: no column {missing[0]!r} for slices beside the columns task and item_id.",
            "Name a column of the baseline's CSV, JSON, JSONL or Parquet file; in gate.yml, set `slices:` of the task.",
        )
    return values


def _rows(path: Path, columns: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    suffix = suffix_of(path)
    if suffix in _PARQUET:
        return _parquet_rows(path, columns)
    if suffix in (*LINES, ".json"):
        return (row for _, row in json_lines(path))
    source = csv_source(path)
    text = (read_bytes(path) if source.content is None else source.content).decode("utf-8-sig")
    lines = io.StringIO(text, newline="")
    for _ in range(source.skip):
        lines.readline()
    return csv.DictReader(lines, delimiter=source.delimiter)


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    try:
        yield from read_rows(path, columns)
    except (TooLargeError, pa.ArrowException, OSError) as error:
        raise SampleError(f"{path} is not a readable Parquet file: {error}.") from None


def _text(value: object) -> str:
    """Return a task or item id as `gate.importers.tabular` writes it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
