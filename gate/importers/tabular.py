"""Tables with the columns task, item_id, output, target and correct (or score), from any tool or script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.common.canonical import text_digest
from gate.common.jsonlines import as_text
from gate.common.lm_eval import DEFAULT_METRICS
from gate.errors import SampleError
from gate.importers.build import NO_SCORE, SCORE_WORDS, task_samples
from gate.importers.choose import Selection
from gate.importers.files import label_of, refuse_odd_tasks, source_files
from gate.importers.orient import Directions
from gate.importers.reading import Reading
from gate.importers.tabular_check import PLACE, Places, refuse_nameless, refuse_odd_repeats, refuse_scores
from gate.importers.tabular_read import TEXT, MissingColumnsError, read_table
from gate.importers.tabular_twins import refuse_repeated_items
from gate.samples.record import SAMPLE_SCHEMA, ModelSamples, TaskSamples


def read_tabular(path: Path, files: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the CSV, TSV, JSON, JSONL or Parquet files `files`, which were found at `path`, as one model's samples.

    `correct` (0/1, true/false) is read if the column exists and is complete, else `score`. The metric that is asked for
    is a value of the column `metric`, or one of these two columns. Columns may be named by folders: `task=arc/`.

    Raises
    ------
    SampleError
        See `read_foreign`.
    """
    tables, left_out = _read_all(path, files)
    refuse_repeated_items(path, tables)
    table = pa.concat_tables(tables.values(), promote_options="default")
    table = table.append_column(PLACE, pa.array(np.arange(table.num_rows)))
    places = Places(tables)
    refuse_nameless(table, path)
    names = [str(name) for name in pc.unique(table.column("task")).to_pylist()]
    refuse_odd_tasks(path, [name for name in names if reading.wants(name)])
    unread = sorted(name for name in names if not reading.wants(name))
    if unread:
        table = table.filter(pc.is_in(table.column("task"), pa.array(sorted(reading.tasks))))
    about = {"format": "table", "files": source_files(list(tables))}
    if not table.num_rows:
        return ModelSamples(label_of(path), {}, about, (), tuple(unread), tuple(left_out))
    if "metric" in table.column_names:
        table, notes = _one_metric(table, reading.metric)
        column, more = _score_column(table, None)
        notes += more
    else:
        column, notes = _score_column(table, reading.metric)
    refuse_odd_repeats(table, path)
    refuse_scores(table, column, path, places)
    directions = Directions(reading)
    tasks = {
        task: _samples(task, rows, column, path, list(tables), directions) for task, rows in _by_task(table).items()
    }
    notes += directions.notes()
    return ModelSamples(label_of(path), tasks, about, tuple(notes), tuple(unread), tuple(left_out))


def _read_all(path: Path, files: Sequence[Path]) -> tuple[dict[Path, pa.Table], list[str]]:
    """Return the table of each file, and a line per file that holds no samples at all."""
    tables: dict[Path, pa.Table] = {}
    unrelated: list[MissingColumnsError] = []
    left_out = []
    for file in files:
        folders = file.relative_to(path).parts[:-1] if path.is_dir() else ()
        partitions = {name: unquote(value) for name, mark, value in (part.partition("=") for part in folders) if mark}
        try:
            tables[file] = _typed(read_table(file, partitions), file)
        except MissingColumnsError as error:
            if not error.unrelated:
                raise
            unrelated.append(error)
            left_out.append(f"{file.name}: has neither the column task nor item_id.")
    if not tables:
        raise unrelated[0]
    return tables, left_out


def _typed(table: pa.Table, path: Path) -> pa.Table:
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_nested(column.type):
            column = _flat(column, name, path)
        convert = _as_text if name in TEXT else _as_number
        columns[name] = convert(column, name, path)
    if "prompt" in columns and "prompt_hash" not in columns:
        columns["prompt_hash"] = _hashes(columns["prompt"])
    return pa.table(columns)


def _flat(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """Return chat messages as text; any other list, map or struct is refused."""
    if name != "prompt":
        expected = "one number per row" if name not in TEXT else "one text or number per row"
        raise SampleError(
            f"{path}: column {name} has the type {column.type}; expected {expected}.",
            f"Write a column {name} with one value, e.g. one metric of a struct.",
        )
    texts = [None if value is None else as_text(value) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _as_text(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_string(kind):
        return column
    try:
        if pa.types.is_floating(kind):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        if pa.types.is_floating(kind) and pc.all(pc.equal(pc.floor(column), column), min_count=0).as_py():
            column = column.cast(pa.int64())  # pandas turns a column of integers into floats for one null
        return column.cast(pa.string())
    except pa.ArrowException:
        raise SampleError(
            f"{path}: column {name} has the type {kind}; expected text or numbers.", "Convert it to text."
        ) from None


def _as_number(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    kind = column.type
    try:
        if pa.types.is_boolean(kind):
            return column.cast(pa.int8()).cast(pa.float64())
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return _parsed(column)
        return column.cast(pa.float64())
    except (pa.ArrowException, ValueError):
        invalid = _first_invalid(column)
        example = f", e.g. {invalid}" if invalid else ""
        hint = "Expected 0/1 or true/false in `correct`, numbers in `score`, integers in `repeat`."
        if re.fullmatch(r"'-?\d+,\d+'", invalid):
            hint = "Write decimals with a point: 0.5, not 0,5."
        raise SampleError(
            f"{path}: column {name} ({kind}) holds values that are not numbers{example}.",
            hint,
        ) from None


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Parse text as numbers; words are looked up once per distinct value, so no Python loop runs over the rows."""
    encoded = pc.utf8_lower(pc.utf8_trim_whitespace(column)).combine_chunks().dictionary_encode()
    words = encoded.dictionary
    for word, score in SCORE_WORDS.items():
        words = pc.if_else(pc.equal(words, word), str(score), words)
    words = pc.if_else(pc.is_in(words, pa.array(NO_SCORE)), pa.scalar(None, pa.string()), words)
    return pa.chunked_array([words.cast(pa.float64()).take(encoded.indices)])


def _first_invalid(column: pa.ChunkedArray) -> str:
    for value in column.unique().to_pylist()[:10_000]:
        text = str(value).strip().lower()
        try:
            float(SCORE_WORDS.get(text, 0.0 if text in NO_SCORE else text))
        except ValueError:
            return repr(value)
    return ""


def _hashes(prompts: pa.ChunkedArray) -> pa.Array:
    encoded = prompts.combine_chunks().dictionary_encode()
    hashes = [None if text is None else text_digest(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(hashes, pa.string()).take(encoded.indices)


def _one_metric(table: pa.Table, metric: str | None) -> tuple[pa.Table, list[str]]:
    """Return the rows of one metric per task, and notes on the choice."""
    empty = table.column("metric").null_count
    if empty:
        raise SampleError(
            f"The `metric` column is empty in {empty} of {table.num_rows} rows.",
            "Fill it in, or leave the whole column out.",
        )
    candidates: dict[str, list[str]] = {}
    for pair in table.group_by(["task", "metric"]).aggregate([]).to_pylist():
        candidates.setdefault(str(pair["task"]), []).append(str(pair["metric"]))
    selection = Selection("metric", metric, DEFAULT_METRICS)
    for task, names in candidates.items():
        chosen = selection.choose(task, names)
        if len(names) > 1:
            dropped = pc.and_(pc.equal(table.column("task"), task), pc.not_equal(table.column("metric"), chosen))
            table = table.filter(pc.invert(dropped))
    return table, selection.notes()


def _score_column(table: pa.Table, metric: str | None) -> tuple[str, list[str]]:
    """Return the column that holds the scores, and notes on the choice."""
    columns = [name for name in ("correct", "score") if name in table.column_names]
    if metric is not None:
        if metric in columns:
            return metric, []
        raise SampleError(
            f"No metric {metric!r}: the file has no `metric` column, and its score columns are {', '.join(columns)}.",
            "Leave --metric out, or add a `metric` column.",
        )
    if len(columns) == 1:
        return columns[0], []
    if table.column("correct").null_count:
        return "score", []
    if table.column("correct").equals(table.column("score")):
        return "correct", []
    return "correct", ["The file has both correct and score: read correct (choose with --metric score)."]


def _by_task(table: pa.Table) -> dict[str, pa.Table]:
    """Split by task, in order of first appearance; tasks in contiguous rows are not copied."""
    encoded = table.column("task").combine_chunks().dictionary_encode()
    codes: npt.NDArray[np.int32] = encoded.indices.to_numpy()
    if np.any(np.diff(codes) < 0):
        order = np.argsort(codes, kind="stable")
        table, codes = table.take(pa.array(order)), codes[order]
    ends = np.searchsorted(codes, np.arange(1, len(encoded.dictionary) + 1)).tolist()
    tables, start = {}, 0
    for task, end in zip(encoded.dictionary.to_pylist(), ends, strict=True):
        tables[str(task)] = table.slice(start, end - start)
        start = end
    return tables


def _samples(
    task: str, table: pa.Table, column: str, path: Path, files: Sequence[Path], directions: Directions
) -> TaskSamples:
    metric = str(table.column("metric")[0].as_py()) if "metric" in table.column_names else column
    columns = {name: table.column(name) for name in table.column_names if name in SAMPLE_SCHEMA.names}
    label, scores = directions.orient(task, metric, table.column(column).to_numpy(), f"{path}: task {task}")
    return task_samples(task, label, {**columns, "score": scores}, files=files)
