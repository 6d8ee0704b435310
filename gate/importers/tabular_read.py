"""CSV, JSONL and Parquet files as Arrow tables of the columns that matter, read without a Python loop per row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from gate.canonical import canonical_json
from gate.errors import SampleError
from gate.importers.detect import LINES, READABLE
from gate.importers.jsonlines import clean_text, first_object, json_lines

TEXT = ("task", "item_id", "output", "target", "prompt_hash", "prompt", "cluster", "metric")
NUMBERS = ("correct", "score", "repeat")
KNOWN = (*TEXT, *NUMBERS)
REQUIRED = ("task", "item_id", "output", "target")
_BLOCK = 8 << 20  # bytes; a row must fit into two blocks


def read_table(path: Path) -> pa.Table:
    """Read the known columns of a file; types are as the file has them.

    Raises
    ------
    SampleError
        Missing or doubled columns, no rows, or a file that its reader cannot parse.
    """
    suffix = path.suffix.lower()
    if path.stat().st_size == 0:
        raise SampleError(
            f"{path} is empty (0 bytes).", "Was the evaluation stopped before it wrote its samples?"
        )
    if suffix in LINES:
        table = _read_lines(path)
    elif suffix in (".parquet", ".pq"):
        table = _read_parquet(path)
    else:
        table = _read_csv(path, "\t" if suffix == ".tsv" else ",")
    if table.num_rows == 0:
        raise SampleError(f"{path} holds no rows.", "Was the evaluation stopped before it wrote its samples?")
    return table


def check_columns(found: Sequence[str], path: Path) -> None:
    """Raise a SampleError where a required column is missing or a known one stands twice."""
    missing = [name for name in REQUIRED if name not in found]
    if "correct" not in found and "score" not in found:
        missing.append("correct (or score)")
    if missing:
        shown = ", ".join(list(found)[:20]) or "(none)"
        raise SampleError(
            f"{path}: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}. Found: {shown}.",
            READABLE,
        )
    doubled = sorted({name for name in KNOWN if list(found).count(name) > 1})
    if doubled:
        raise SampleError(
            f"{path}: more than one column is named {', '.join(doubled)}.", "Rename one of them."
        )


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            names = file.schema_arrow.names
            check_columns(names, path)
            return file.read(columns=[name for name in KNOWN if name in names])
    except (pa.ArrowException, OSError) as error:
        raise SampleError(
            f"{path} is not a readable Parquet file: {_first_line(error)}.",
            "Was it cut, or only half copied?",
        ) from None


def _read_csv(path: Path, delimiter: str) -> pa.Table:
    import pyarrow.csv as pa_csv

    header = _header(path, delimiter)
    check_columns(header, path)
    columns = [name for name in KNOWN if name in header]
    # Everything is read as text: "007" is a name, and "" an answer. Numbers are parsed later.
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
    """Find the file:line of the first row with another number of fields, or that is not UTF-8."""
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
    """Read JSON lines with Arrow; where a column mixes types, or a line is broken, by a slower and more exact way."""
    import pyarrow.json as pa_json

    first = first_object(path) or {}
    schema = _lines_schema(first)
    parse = pa_json.ParseOptions(
        explicit_schema=schema, unexpected_field_behavior="ignore", newlines_in_values=False
    )

    def read(block: int) -> pa.Table:
        return pa_json.read_json(
            path, read_options=pa_json.ReadOptions(block_size=block), parse_options=parse
        )

    try:
        table = _with_blocks(read, path)
    except pa.ArrowException:
        table = _lines_by_hand(path)
    columns = [
        name for name in table.column_names if name in first or table.column(name).null_count < table.num_rows
    ]
    check_columns(list(dict.fromkeys([*first, *columns])), path)
    return table.select(columns)


def _lines_schema(first: Mapping[str, object]) -> pa.Schema:
    """Take the types of the columns from the first row: item_id may be text or a number."""
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    fields = []
    for name in KNOWN:
        default = pa.string() if name in TEXT else pa.int64() if name == "repeat" else pa.float64()
        kind = types.get(type(first.get(name)), default)
        number = name in ("correct", "score") and kind == pa.int64()
        fields.append(pa.field(name, pa.float64() if number else kind))
    return pa.schema(fields)


def _lines_by_hand(path: Path) -> pa.Table:
    columns: dict[str, list[str | None]] = {name: [] for name in KNOWN}
    for line, row in json_lines(path):
        for name, values in columns.items():
            values.append(_text(row.get(name), name, f"{path}:{line}"))
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _text(value: object, name: str, where: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        if name == "prompt":  # chat messages
            return clean_text(canonical_json(value))
        raise SampleError(
            f"{where}: {name} is a {'list' if isinstance(value, list) else 'nested object'}; expected text, a number "
            "or true/false.",
            READABLE,
        )
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _with_blocks(read: Callable[[int], pa.Table], path: Path) -> pa.Table:
    try:
        return read(_BLOCK)
    except pa.ArrowInvalid as error:
        size = path.stat().st_size
        if "straddl" not in str(error) or size <= _BLOCK:
            raise
        return read(min(size + 1, 2**31 - 1))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
