"""CSV, JSONL and Parquet files as Arrow tables of the known columns, without a Python loop per row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from gate.common.jsonlines import as_text, first_object, json_lines
from gate.errors import SampleError
from gate.importers.files import LINES, READABLE, no_rows, refuse_empty

TEXT = ("task", "item_id", "output", "target", "prompt_hash", "prompt", "cluster", "metric")
NUMBERS = ("correct", "score", "repeat")
_KNOWN = (*TEXT, *NUMBERS)
_REQUIRED = ("task", "item_id", "output", "target")
_BLOCK = 8 << 20  # bytes; a row must fit into two blocks


def read_table(path: Path) -> pa.Table:
    """Read the known columns of a file, with the types of the file.

    Raises
    ------
    SampleError
        Missing or repeated columns, no rows, or a file that its parser rejects.
    """
    refuse_empty(path)
    suffix = path.suffix.lower()
    if suffix in LINES:
        table = _read_lines(path)
    elif suffix in (".parquet", ".pq"):
        table = _read_parquet(path)
    else:
        table = _read_csv(path, "\t" if suffix == ".tsv" else ",")
    if table.num_rows == 0:
        raise no_rows(path)
    return table


def _check_columns(columns: Sequence[str], path: Path) -> None:
    """Raise SampleError if a required column is missing or a known one is repeated."""
    missing = [name for name in _REQUIRED if name not in columns]
    if "correct" not in columns and "score" not in columns:
        missing.append("correct (or score)")
    if missing:
        shown = ", ".join(columns[:20]) or "(none)"
        raise SampleError(
            f"{path}: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. Found: {shown}.",
            READABLE,
        )
    repeated = sorted(name for name in _KNOWN if list(columns).count(name) > 1)
    if repeated:
        raise SampleError(f"{path}: more than one column is named {', '.join(repeated)}.", "Rename one of them.")


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            names = file.schema_arrow.names
            _check_columns(names, path)
            return file.read(columns=[name for name in _KNOWN if name in names])
    except (pa.ArrowException, OSError) as error:
        raise SampleError(
            f"{path} is not a readable Parquet file: {_first_line(error)}.",
            "Check whether it was cut or only partly copied.",
        ) from None


def _read_csv(path: Path, delimiter: str) -> pa.Table:
    import pyarrow.csv as pa_csv

    header = _header(path, delimiter)
    _check_columns(header, path)
    columns = [name for name in _KNOWN if name in header]
    # Everything is read as text, because "007" is a name and "" an answer. Numbers are parsed later.
    convert = pa_csv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
    )
    parse = pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)

    def read(block: int) -> pa.Table:
        options = pa_csv.ReadOptions(block_size=block)
        return pa_csv.read_csv(path, read_options=options, parse_options=parse, convert_options=convert)

    try:
        return _with_blocks(read, path)
    except pa.ArrowException as error:
        raise SampleError(
            f"{_csv_fault(path, delimiter) or path}: not valid CSV: {_first_line(error)}.",
            "Quote values that contain commas or line breaks; save as UTF-8.",
        ) from None


def _header(path: Path, delimiter: str) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        try:
            return next(csv.reader(handle, delimiter=delimiter), [])
        except csv.Error as error:
            raise SampleError(f"{path}:1: not valid CSV: {error}.", READABLE) from None


def _csv_fault(path: Path, delimiter: str) -> str | None:
    """Return file:line of the first row that is not UTF-8, or has another number of fields than the header."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.reader(handle, delimiter=delimiter)
        try:
            width = len(next(reader, []))
            for row in reader:
                if row and len(row) != width:
                    return f"{path}:{reader.line_num}"
        except (csv.Error, UnicodeError):
            return f"{path}:{reader.line_num + 1}"
    return None


def _read_lines(path: Path) -> pa.Table:
    """Read JSON lines with Arrow, or row by row if a column mixes types or a line is broken."""
    import pyarrow.json as pa_json

    first = first_object(path) or {}
    schema = _lines_schema(first)
    parse = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore", newlines_in_values=False)

    def read(block: int) -> pa.Table:
        return pa_json.read_json(path, read_options=pa_json.ReadOptions(block_size=block), parse_options=parse)

    try:
        table = _with_blocks(read, path)
    except pa.ArrowException:
        table = _lines_by_row(path)
    columns = [name for name in table.column_names if name in first or table.column(name).null_count < table.num_rows]
    _check_columns(list(dict.fromkeys([*first, *columns])), path)
    return table.select(columns)


def _lines_schema(first: Mapping[str, object]) -> pa.Schema:
    """Take the column types from the first row: item_id may be text or a number."""
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    fields = []
    for name in _KNOWN:
        default = pa.string() if name in TEXT else pa.int64() if name == "repeat" else pa.float64()
        kind = types.get(type(first.get(name)), default)
        number = name in ("correct", "score") and kind == pa.int64()
        fields.append(pa.field(name, pa.float64() if number else kind))
    return pa.schema(fields)


def _lines_by_row(path: Path) -> pa.Table:
    columns: dict[str, list[str | None]] = {name: [] for name in _KNOWN}
    for line, row in json_lines(path):
        for name, values in columns.items():
            values.append(_cell(row.get(name), name, f"{path}:{line}"))
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _cell(value: object, name: str, where: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict) and name != "prompt":  # a prompt may be a list of chat messages
        raise SampleError(
            f"{where}: {name} is a {'list' if isinstance(value, list) else 'nested object'}; expected text, a number "
            "or true/false.",
            READABLE,
        )
    if isinstance(value, str | list | dict):
        return as_text(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _with_blocks(read: Callable[[int], pa.Table], path: Path) -> pa.Table:
    """Read with the default block size, or in one block if a row does not fit."""
    try:
        return read(_BLOCK)
    except pa.ArrowInvalid as error:
        size = path.stat().st_size
        if "straddl" not in str(error) or size <= _BLOCK:
            raise
        return read(min(size + 1, 2**31 - 1))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
