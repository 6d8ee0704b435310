"""Read Parquet files of unknown origin: 833 bytes can stand for 20 GB, so sizes are checked before memory is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

LIMIT = 4 << 30
"""Most bytes of a table in memory."""
_LONGEST_COLUMN = (2 << 30) - 1  # the offsets of Arrow's texts have 31 bits
_OBJECT = 64  # bytes of a Python value


class TooLargeError(ValueError):
    """The file's rows take more than `LIMIT` bytes."""


@contextmanager
def _as_arrow_errors() -> Iterator[None]:
    """Raise whatever pyarrow raises for damaged metadata (KeyError, UnicodeDecodeError, ...) as an ArrowException."""
    try:
        yield
    except (pa.ArrowException, OSError, TooLargeError, MemoryError):
        raise
    except (LookupError, ValueError, TypeError, ArithmeticError) as error:
        raise pa.ArrowInvalid(f"damaged metadata ({type(error).__name__}: {error})") from None


@_as_arrow_errors()
def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet file; errors as in `read_parquet`."""
    import pyarrow.parquet as pq

    names: list[str] = pq.read_schema(path).names
    return names


@_as_arrow_errors()
def read_parquet(source: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a Parquet file.

    Parameters
    ----------
    source : path or pyarrow.NativeFile
    columns : sequence of str, optional
        The columns to read. Default: all.

    Raises
    ------
    TooLargeError
        The rows would take more than `LIMIT` bytes.
    pyarrow.ArrowException, OSError
        The file cannot be read.

    Notes
    -----
    Three ways to expand a small file are bounded: compression (by the uncompressed sizes in the metadata), runs of
    equal numbers (by the counts of values), and references to one long text (by reading such a column as a dictionary,
    which stays small, and adding up the lengths of what its rows refer to).
    """
    import pyarrow.parquet as pq  # takes 20 ms, which comparisons of other files save

    # memory mapping reads only the pages of the columns
    with pq.ParquetFile(source, memory_map=not isinstance(source, pa.NativeFile)) as file:
        chosen = list(columns) if columns is not None else file.schema_arrow.names
        chunks = _chunks(file.metadata, set(chosen))
        _check(sum(chunk.total_uncompressed_size for chunk in chunks))
        _check(8 * sum(chunk.num_values for chunk in chunks))
        types = {field.name: _plain(field.type) for field in file.schema_arrow if field.name in chosen}
        texts = [name for name, kind in types.items() if _is_text(kind)]
        doubtful = [name for name in texts if _most_bytes(chunks, name) > min(LIMIT, _LONGEST_COLUMN)]
        if not doubtful:
            return _as_plain(file.read(columns=chosen), types)
    with pq.ParquetFile(source, memory_map=not isinstance(source, pa.NativeFile), read_dictionary=doubtful) as file:
        table = file.read(columns=chosen)
    sizes = [_text_bytes(table.column(name)) for name in doubtful]
    _check(sum(sizes))
    if max(sizes) > _LONGEST_COLUMN:
        raise TooLargeError(f"a column's texts take more than {(_LONGEST_COLUMN >> 30) + 1} GiB in memory")
    return _as_plain(table, types)


def _as_plain(table: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return the table with plain columns in place of dictionaries."""
    for index, name in enumerate(table.column_names):
        if pa.types.is_dictionary(table.column(index).type):
            table = table.set_column(index, name, table.column(index).cast(types[name]))
    return table


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _chunks(metadata: Any, columns: set[str]) -> list[Any]:
    """Return the metadata of the column chunks of the chosen columns."""
    chunks = []
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        all_chunks = [row_group.column(index) for index in range(row_group.num_columns)]
        chunks += [chunk for chunk in all_chunks if chunk.path_in_schema.partition(".")[0] in columns]
    return chunks


def _most_bytes(chunks: Sequence[Any], name: str) -> int:
    """Return the most bytes that a column of texts can take: every row refers to one text as long as its chunk."""
    own = [chunk for chunk in chunks if chunk.path_in_schema == name]
    return sum(
        chunk.num_values * chunk.total_uncompressed_size if chunk.has_dictionary_page else chunk.total_uncompressed_size
        for chunk in own
    )


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Return the bytes of a dictionary column's texts, counted once per row."""
    total = 0
    for chunk in column.chunks:
        lengths = pc.cast(pc.binary_length(chunk.dictionary), pa.int64())
        total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    return total


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))


def _check(size: int) -> None:
    if size > LIMIT:
        raise TooLargeError(f"its rows take more than {LIMIT >> 30} GiB in memory")


@_as_arrow_errors()
def read_rows(source: Any, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file with nested columns, as Python values.

    Parameters
    ----------
    source : path or pyarrow.NativeFile
    columns : sequence of str
        Names of columns, or of fields of a struct ("doc.query"). Those that the file lacks are ignored.

    Raises
    ------
    TooLargeError
        The rows would take more than `LIMIT` bytes.
    pyarrow.ArrowException, OSError
        The file cannot be read.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        metadata, parts = file.metadata, file.schema_arrow.names
        groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
        chunks = [
            chunk
            for group in groups
            for chunk in (group.column(index) for index in range(group.num_columns))
            if any(chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.") for name in columns)
        ]
        texts = sorted({chunk.path_in_schema for chunk in chunks if chunk.physical_type == "BYTE_ARRAY"})
    _check(sum(chunk.total_uncompressed_size for chunk in chunks))
    _check(_OBJECT * (metadata.num_rows * len(parts) + sum(chunk.num_values for chunk in chunks)))
    leaves = sorted({chunk.path_in_schema for chunk in chunks})
    with pq.ParquetFile(source, read_dictionary=texts) as file:
        table = file.read(columns=leaves)
    _check(sum(_nested_text_bytes(chunk) for column in table.columns for chunk in column.chunks))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _nested_text_bytes(array: pa.Array) -> int:
    """Return the bytes of all texts in an array, at any depth, counted once per value."""
    if pa.types.is_dictionary(array.type):
        return _text_bytes(pa.chunked_array([array]))
    if pa.types.is_struct(array.type):
        return sum(_nested_text_bytes(array.field(index)) for index in range(array.type.num_fields))
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_map(array.type):
        return _nested_text_bytes(array.values)
    return 0
