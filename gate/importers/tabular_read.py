"""CSV, JSON, JSONL and Parquet files as Arrow tables of the known columns, without a Python loop per row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from gate.common.compressed import read_bytes
from gate.common.jsonlines import as_text, first_object, json_lines
from gate.common.parquet import TooLargeError, column_names, read_parquet
from gate.errors import SampleError
from gate.importers.csv_source import csv_source, refuse_other_encodings
from gate.importers.files import LINES, READABLE, no_rows, refuse_empty, suffix_of

TEXT = ("task", "item_id", "output", "target", "prompt_hash", "prompt", "cluster", "metric")
NUMBERS = ("correct", "score", "repeat")
_KNOWN = (*TEXT, *NUMBERS)
_REQUIRED = ("task", "item_id", "output", "target")
_BLOCK = 8 << 20  # bytes; a row must fit into two blocks


class MissingColumnsError(SampleError):
    """A required column is missing.

    Attributes
    ----------
    unrelated : bool
        Whether the file has neither tasks nor items: it probably is no file of samples.
    """

    def __init__(self, message: str, hint: str, unrelated: bool) -> None:
        super().__init__(message, hint)
        self.unrelated = unrelated


def read_table(path: Path, partitions: Mapping[str, str] | None = None) -> pa.Table:
    """Read the known columns of a file, with the types of the file; `partitions` are columns that its folder names.

    Raises
    ------
    MissingColumnsError
        A required column is missing.
    SampleError
        Repeated columns, no rows, or a file that its parser rejects.
    """
    refuse_empty(path)
    suffix = suffix_of(path)
    extra = {name: value for name, value in (partitions or {}).items() if name in _KNOWN}
    if suffix in (*LINES, ".json"):
        table = _read_lines(path, extra)
    elif suffix in (".parquet", ".pq"):
        table = _read_parquet(path, extra)
    else:
        table = _read_csv(path, extra)
    if table.num_rows == 0:
        raise no_rows(path)
    for name, value in extra.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
    return table


def _check_columns(columns: Sequence[str], extra: Mapping[str, str], path: Path) -> None:
    """Raise if a required column is missing or a known one is repeated."""
    missing = [name for name in _REQUIRED if name not in columns and name not in extra]
    if "correct" not in columns and "score" not in columns:
        missing.append("correct (or score)")
    if missing:
        shown = ", ".join(columns[:20]) or "(none)"
        raise MissingColumnsError(
            f"{path}: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. Found: {shown}.",
            READABLE,
            unrelated="item_id" not in columns and "task" not in columns,
        )
    repeated = sorted(name for name in _KNOWN if list(columns).count(name) > 1)
    if repeated:
        raise SampleError(f"{path}: more than one column is named {', '.join(repeated)}.", "Rename one of them.")


def _read_parquet(path: Path, extra: Mapping[str, str]) -> pa.Table:
    try:
        names = column_names(path)
        _check_columns(names, extra, path)
        table = read_parquet(path, [name for name in _KNOWN if name in names])
    except TooLargeError as error:
        raise SampleError(f"{path}: {error}.", "Split the file, or remove columns of long texts.") from None
    except (pa.ArrowException, OSError) as error:
        raise SampleError(
            f"{path} is not a readable Parquet file: {_first_line(error)}.",
            "Check whether it is truncated.",
        ) from None
    for name in table.column_names:
        _refuse_invalid_text(table.column(name), name, path)
    return table


def _refuse_invalid_text(column: pa.ChunkedArray, name: str, path: Path) -> None:
    """Raise SampleError, with the row, if a text is not UTF-8: writers of Parquet do not check it."""
    try:
        column.validate(full=True)
        return
    except pa.ArrowException as error:
        reason = _first_line(error)
    row = 0
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = column.cast(pa.large_binary()).to_pylist()
        row = next((number for number, value in enumerate(values, start=1) if not _is_utf8(value)), 0)
    where = f" in row {row}" if row else ""
    raise SampleError(f"{path}: column {name} is not valid{where}: {reason}.", "Write text as UTF-8.")


def _is_utf8(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


def _read_csv(path: Path, extra: Mapping[str, str]) -> pa.Table:
    import pyarrow.csv as pa_csv

    source = csv_source(path)
    _check_columns(source.header, extra, path)
    columns = [name for name in _KNOWN if name in source.header]
    # Everything is read as text, because "007" is a name and "" an answer. Numbers are parsed later.
    convert = pa_csv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
    )
    parse = pa_csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True)

    def read(block: int) -> pa.Table:
        options = pa_csv.ReadOptions(block_size=block, skip_rows=source.skip)
        return pa_csv.read_csv(source.open(), read_options=options, parse_options=parse, convert_options=convert)

    try:
        return _with_blocks(read, source.size)
    except pa.ArrowException as error:
        if source.content is None:
            refuse_other_encodings(path)
        raise SampleError(
            f"{source.fault()}: not valid CSV: {_first_line(error)}.",
            "Quote values that contain commas or line breaks; save as UTF-8.",
        ) from None


def _read_lines(path: Path, extra: Mapping[str, str]) -> pa.Table:
    """Read JSON lines with Arrow, or row by row if a column mixes types or a line is broken, or for a JSON list."""
    import pyarrow.json as pa_json

    content = read_bytes(path)
    first = first_object(path) or {}
    parse = pa_json.ParseOptions(
        explicit_schema=_lines_schema(first), unexpected_field_behavior="ignore", newlines_in_values=False
    )

    def read(block: int) -> pa.Table:
        options = pa_json.ReadOptions(block_size=block)
        return pa_json.read_json(pa.BufferReader(content), read_options=options, parse_options=parse)

    try:
        content.decode()  # Arrow does not check the encoding
        if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            table = _lines_by_row(path)
        else:
            table = _with_blocks(read, len(content))
    except UnicodeDecodeError:
        refuse_other_encodings(path)
        raise
    except pa.ArrowException:
        table = _lines_by_row(path)
    columns = [name for name in table.column_names if name in first or table.column(name).null_count < table.num_rows]
    _check_columns(list(dict.fromkeys([*first, *columns])), extra, path)
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
    if value is None or (isinstance(value, float) and math.isnan(value) and name in TEXT):
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


def _with_blocks(read: Callable[[int], pa.Table], size: int) -> pa.Table:
    """Read with the default block size, or in one block if a row does not fit."""
    try:
        return read(_BLOCK)
    except pa.ArrowInvalid as error:
        if "straddl" not in str(error) or size <= _BLOCK:
            raise
        return read(min(size + 1, 2**31 - 1))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
