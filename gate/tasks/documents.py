"""Reads the documents of a task from JSONL, CSV or Parquet files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json, digest
from gate.common.jsonlines import json_lines
from gate.errors import SampleError, TaskError


@dataclass(frozen=True)
class Document:
    """One row of a task file.

    Attributes
    ----------
    line : int
        1-based line (JSONL, CSV) or row (Parquet).
    item_id : str
        SHA-256 of the canonical JSON of the fields; equal in all formats that preserve types.
    """

    fields: Mapping[str, Any]
    path: Path
    line: int
    item_id: str

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.path}:{self.line}"


def read_documents(path: Path) -> list[Document]:
    """Read every document of a `.jsonl`, `.ndjson`, `.csv` or `.parquet` file.

    Raises
    ------
    TaskError
        The file is missing, empty or unreadable, a line is invalid, or documents are duplicated.
    """
    readers = {".jsonl": json_lines, ".ndjson": json_lines, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TaskError(
            f"{path.name} has the suffix {path.suffix or '(none)'!r}.", "Use a .jsonl, .csv or .parquet file."
        )
    try:
        rows = list(reader(path))
    except SampleError as error:
        raise TaskError(error.message, error.hint) from None
    except FileNotFoundError:
        raise TaskError(f"the file {path} does not exist.", "Check `file:` in gate.yml.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} cannot be read: {error}", "Expected UTF-8 text or Parquet.") from None
    if not rows:
        raise TaskError(f"{path} holds no documents.", "Expected at least one row.")
    documents = []
    for line, fields in rows:
        try:
            canonical_json(fields).encode("utf-8")
        except (UnicodeEncodeError, RecursionError) as error:
            raise TaskError(
                f"{path}:{line}: the document holds text that is not valid Unicode: {error}.",
                "It contains half of a surrogate pair, such as \\ud800. Save the file again as UTF-8.",
            ) from None
        documents.append(Document(fields, path, line, digest(fields)))
    _refuse_duplicates(documents, path)
    return documents


def slice_values(documents: Sequence[Document], fields: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return the value of each field by item id, for slices.

    Raises
    ------
    TaskError
        A document lacks a field.
    """
    for document in documents:
        if missing := [name for name in fields if name not in document.fields]:
            raise TaskError(
                f"{document.where}: the document lacks the slice field {missing[0]!r}.",
                f"The document has: {', '.join(map(str, document.fields))}.",
            )
    return {name: {document.item_id: document.fields[name] for document in documents} for name in fields}


def _refuse_duplicates(documents: list[Document], path: Path) -> None:
    first: dict[str, int] = {}
    lines = [(first.setdefault(document.item_id, document.line), document.line) for document in documents]
    pairs = [(earlier, line) for earlier, line in lines if earlier != line]
    if pairs:
        shown = ", ".join(f"{a} = {b}" for a, b in pairs[:5])
        raise TaskError(
            f"{path} has {len(pairs)} duplicate document(s); equal lines: {shown}{', ...' if len(pairs) > 5 else ''}.",
            "Items are paired by content, so each may occur once. Remove the copies, or add a field that distinguishes "
            "them (an id).",
        )


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    expected = len(reader.fieldnames or [])
                    raise TaskError(
                        f"{path}:{reader.line_num}: the row does not have the {expected} columns of the header.",
                        "Quote values that contain commas or line breaks.",
                    )
                yield reader.line_num, row
        except csv.Error as error:
            line = reader.line_num + 1  # start of the broken row: an open quote runs to the end
            raise TaskError(f"{path}:{line}: not valid CSV: {error}.") from None


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa

    from gate.common.parquet import TooLargeError, read_parquet

    try:
        rows = read_parquet(path).to_pylist()
    except (pa.ArrowException, TooLargeError) as error:
        raise TaskError(f"{path} is not a readable Parquet file: {error}") from None
    yield from enumerate(rows, start=1)
