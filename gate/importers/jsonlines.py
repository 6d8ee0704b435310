"""JSON lines, one object a line, with the file and line of whatever is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gate.errors import SampleError

_BOM = b"\xef\xbb\xbf"
_LINE_HINT = (
    "Each line must be one JSON object in UTF-8. Was the file cut, or written by two processes at once?"
)


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (1-based line, object) for every line that is not blank.

    Raises
    ------
    SampleError
        A line is not a JSON object; the message names file and line.
    """
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            line = raw.removeprefix(_BOM) if number == 1 else raw
            if line.isspace() or not line:
                continue
            yield number, _parse(line, path, number)


def first_object(path: Path) -> dict[str, Any] | None:
    """Return the first object of a JSON-lines file, None where it has none."""
    return next((row for _, row in json_lines(path)), None)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises
    ------
    SampleError
        The file is not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_bytes().removeprefix(_BOM))
    except (ValueError, RecursionError) as error:
        raise SampleError(f"{path}: not valid JSON: {_reason(error)}.", "Was the file cut?") from None
    if not isinstance(value, dict):
        raise SampleError(f"{path}: expected a JSON object, found a {type(value).__name__}.")
    return value


def clean_text(text: str) -> str:
    """Return the text with lone surrogates, which UTF-8 cannot hold, replaced."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SampleError(f"{path}:{number}: not valid JSON: {_reason(error)}.", _LINE_HINT) from None
    if not isinstance(row, dict):
        raise SampleError(
            f"{path}:{number}: expected a JSON object, found a {type(row).__name__}.", _LINE_HINT
        )
    return row


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not UTF-8"
    return str(error) or type(error).__name__
