"""Tables with the columns task, item_id, output, target, correct (or score), from any tool or script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.canonical import text_digest
from gate.errors import SampleError
from gate.importers.build import refuse_unscored, source_files, task_samples
from gate.importers.choose import DEFAULT_METRICS, Choice, choose, explain
from gate.importers.detect import TABLES, files_in
from gate.importers.tabular_read import NUMBERS, REQUIRED, TEXT, read_table
from gate.samples.record import SAMPLE_SCHEMA, ModelSamples, TaskSamples

_UNSCORED = ("", "none", "null", "nan", "na", "n/a")
_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


def read_tabular(path: Path, *, metric: str | None = None) -> ModelSamples:
    """Read a CSV, TSV, JSONL or Parquet file, or all such files of a folder, as one model's samples.

    `correct` (0/1, true/false) decides where it is there and complete, else `score`; `metric` names a value of the
    column `metric`, or one of the two columns.

    Raises
    ------
    SampleError
        See `read_foreign`.
    """
    files = files_in(path, TABLES) if path.is_dir() else [path]
    tables = [_typed(read_table(file), file) for file in files]
    table = pa.concat_tables(tables, promote_options="default")
    notes: list[str] = []
    if "metric" in table.column_names:
        table, column, notes = _one_metric(table, metric)
    else:
        column, notes = _score_column(table, metric)
    _refuse_nameless(table, path)
    _refuse_odd_repeats(table, path)
    _refuse_unscored(table, column, path)
    if column == "correct":
        _refuse_graded(table, path)
    tasks = {name: _samples(name, part, column) for name, part in _by_task(table).items()}
    about = {"format": "table", "files": source_files(files)}
    return ModelSamples(path.stem if path.is_file() else path.name, tasks, about, tuple(notes))


def _typed(table: pa.Table, path: Path) -> pa.Table:
    columns: dict[str, Any] = {}
    for name in table.column_names:
        if name in TEXT:
            columns[name] = _as_text(table.column(name), name, path)
        elif name in NUMBERS:
            columns[name] = _as_number(table.column(name), name, path)
    if "prompt" in columns and "prompt_hash" not in columns:
        columns["prompt_hash"] = _hashes(columns["prompt"])
    return pa.table(columns)


def _as_text(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_dictionary(kind):
        return _as_text(column.cast(kind.value_type), name, path)
    try:
        if pa.types.is_floating(kind) and pc.all(pc.equal(pc.floor(column), column), min_count=0).as_py():
            column = column.cast(pa.int64())  # an integer column that pandas turned into floats for one null
        return column.cast(pa.string())
    except pa.ArrowException:
        raise SampleError(
            f"{path}: column {name} has the type {kind}; expected text or numbers.", "Convert it to text."
        ) from None


def _as_number(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_number(column.cast(kind.value_type), name, path)
    try:
        if pa.types.is_boolean(kind):
            return column.cast(pa.int8()).cast(pa.float64())
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return _parsed(column)
        return column.cast(pa.float64())
    except (pa.ArrowException, ValueError):
        bad = _first_bad(column)
        shown = f", e.g. {bad}" if bad else ""
        raise SampleError(
            f"{path}: column {name} ({kind}) holds values that are not numbers{shown}.",
            "Expected 0/1 or true/false in `correct`, numbers in `score`, integers in `repeat`.",
        ) from None


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Parse text as numbers: words by lookup of the distinct values, so that no loop runs over the rows."""
    encoded = pc.utf8_lower(pc.utf8_trim_whitespace(column)).combine_chunks().dictionary_encode()
    words = encoded.dictionary
    for word, value in _WORDS.items():
        words = pc.if_else(pc.equal(words, word), str(value), words)
    words = pc.if_else(pc.is_in(words, pa.array(_UNSCORED)), pa.scalar(None, pa.string()), words)
    return pa.chunked_array([words.cast(pa.float64()).take(encoded.indices)])


def _first_bad(column: pa.ChunkedArray) -> str:
    for value in column.unique().to_pylist()[:10_000]:
        text = str(value).strip().lower()
        try:
            float(_WORDS.get(text, 0.0 if text in _UNSCORED else text))
        except ValueError:
            return repr(value)
    return ""


def _hashes(prompts: pa.ChunkedArray) -> pa.Array:
    encoded = prompts.combine_chunks().dictionary_encode()
    hashed = pa.array(
        [None if text is None else text_digest(text) for text in encoded.dictionary.to_pylist()]
    )
    return hashed.cast(pa.string()).take(encoded.indices)


def _one_metric(table: pa.Table, metric: str | None) -> tuple[pa.Table, str, list[str]]:
    if table.column("metric").null_count:
        raise SampleError(
            f"The column metric is empty in {table.column('metric').null_count} of {table.num_rows} rows.",
            "Fill it in, or leave the whole column out.",
        )
    pairs = table.group_by(["task", "metric"]).aggregate([]).to_pylist()
    candidates: dict[str, list[str]] = {}
    for pair in pairs:
        candidates.setdefault(str(pair["task"]), []).append(str(pair["metric"]))
    choices: dict[str, Choice] = {}
    for task, names in candidates.items():
        choices[task] = choose(metric, names, DEFAULT_METRICS, what="metric", where=f"task {task}")
    notes = explain("metric", metric, choices)
    for task, choice in choices.items():
        if len(choice.candidates) > 1:
            other = pc.and_(
                pc.equal(table.column("task"), task), pc.not_equal(table.column("metric"), choice.name)
            )
            table = table.filter(pc.invert(other))
    column, more = _score_column(table, None)
    return table, column, notes + more


def _score_column(table: pa.Table, metric: str | None) -> tuple[str, list[str]]:
    there = [name for name in ("correct", "score") if name in table.column_names]
    if metric is not None:
        if metric in there:
            return metric, []
        raise SampleError(
            f"There is no metric {metric!r}: the file has no column metric, and the score columns {', '.join(there)}.",
            "Leave --metric out, or add a column metric.",
        )
    if len(there) == 1:
        return there[0], []
    if table.column("correct").null_count:
        return "score", []
    if table.column("correct").equals(table.column("score")):
        return "correct", []
    return "correct", ["The file has both correct and score: read correct (choose with --metric score)."]


def _refuse_nameless(table: pa.Table, path: Path) -> None:
    for name in REQUIRED[:2]:
        empty = pc.or_kleene(pc.is_null(table.column(name)), pc.equal(table.column(name), ""))
        rows = np.flatnonzero(pc.fill_null(empty, True).to_numpy())
        if len(rows):
            first = ", ".join(str(row + 1) for row in rows[:5])
            raise SampleError(
                f"{path}: {len(rows)} rows have no {name}, the first: {first}.",
                "Each row needs a task and an item_id.",
            )


def _refuse_odd_repeats(table: pa.Table, path: Path) -> None:
    if "repeat" not in table.column_names:
        return
    values = table.column("repeat")
    whole = pc.and_(
        pc.equal(pc.floor(values), values), pc.and_(pc.greater_equal(values, 0), pc.less(values, 2**31))
    )
    odd = table.filter(pc.invert(pc.fill_null(whole, False)))
    if odd.num_rows:
        raise SampleError(
            f"{path}: repeat is not a whole number from 0 on in {odd.num_rows} of {table.num_rows} rows, e.g. "
            f"{odd.column('repeat')[0].as_py()} at {_names(odd)[0]}.",
            "Number the answers to the same item 0, 1, 2, ..., or leave the column out.",
        )


def _refuse_unscored(table: pa.Table, column: str, path: Path) -> None:
    scores = table.column(column)
    bad = pc.is_null(scores, nan_is_null=True)
    count = pc.sum(bad).as_py() or 0
    if count:
        refuse_unscored(count, table.num_rows, _names(table.filter(bad)), f"{path}: column {column}")
    infinite = table.filter(pc.is_inf(scores))
    if infinite.num_rows:
        raise SampleError(
            f"{path}: {infinite.num_rows} scores are infinite, the first: {', '.join(_names(infinite))}.",
            "Scores must be finite.",
        )


def _refuse_graded(table: pa.Table, path: Path) -> None:
    values = table.column("correct")
    bad = table.filter(pc.and_(pc.not_equal(values, 0.0), pc.not_equal(values, 1.0)))
    if bad.num_rows:
        raise SampleError(
            f"{path}: correct is neither 0 nor 1 in {bad.num_rows} of {table.num_rows} rows, e.g. "
            f"{bad.column('correct')[0].as_py()} at {_names(bad)[0]}.",
            "Name the column `score` where scores are not right or wrong.",
        )


def _names(table: pa.Table) -> list[str]:
    part = table.slice(0, 5)
    return [
        f"{a}/{b}" for a, b in zip(*(part.column(name).to_pylist() for name in REQUIRED[:2]), strict=True)
    ]


def _by_task(table: pa.Table) -> dict[str, pa.Table]:
    """Split by task, in order of first appearance; rows that already stand together are not copied."""
    encoded = table.column("task").combine_chunks().dictionary_encode()
    codes: npt.NDArray[np.int32] = encoded.indices.to_numpy()
    if np.any(np.diff(codes) < 0):
        order = np.argsort(codes, kind="stable")
        table, codes = table.take(pa.array(order)), codes[order]
    ends = np.searchsorted(codes, np.arange(1, len(encoded.dictionary) + 1)).tolist()
    parts, start = {}, 0
    for name, end in zip(encoded.dictionary.to_pylist(), ends, strict=True):
        parts[str(name)] = table.slice(start, end - start)
        start = end
    return parts


def _samples(task: str, table: pa.Table, column: str) -> TaskSamples:
    metric = table.column("metric")[0].as_py() if "metric" in table.column_names else column
    columns: Mapping[str, Any] = {
        name: table.column(name) for name in table.column_names if name in SAMPLE_SCHEMA.names
    }
    return task_samples(
        task, str(metric), {**columns, "correct": None, "score": table.column(column).to_numpy()}
    )
