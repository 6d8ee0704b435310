"""JSON files and JSON lines, with errors that name file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json
from gate.errors import SampleError

_BOM = b"\xef\xbb\xbf"
_LINE_HINT = (
    "Each line must be one JSON object in UTF-8. Check whether the file was cut, or written by two processes at once."
)


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the 1-based line number and the object of every line that is not blank.

    Raises
    ------
    SampleError
        A line is not a JSON object.
    """
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, start=1):
            line = raw.removeprefix(_BOM) if number == 1 else raw
            if line and not line.isspace():
                # with its line break, an error would name a column of the next line
                yield number, _object(line.rstrip(), f"{path}:{number}", _LINE_HINT)


def first_object(path: Path) -> dict[str, Any] | None:
    """Return the first object of a JSON-lines file, or None if there is none."""
    return next((row for _, row in json_lines(path)), None)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises
    ------
    SampleError
        The file is not JSON, or not an object.
    """
    hint = "The file must be one JSON object in UTF-8. Check whether it was cut."
    return _object(path.read_bytes().removeprefix(_BOM), str(path), hint)


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object as it is, and an empty mapping for any other value."""
    return value if isinstance(value, Mapping) else {}


def as_text(value: object) -> str:
    """Return a text as it is and any other value as canonical JSON, both safe to store as UTF-8."""
    return clean_text(value if isinstance(value, str) else canonical_json(value))


def clean_text(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot store."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _object(content: bytes, where: str, hint: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg} at column {error.colno}"
        elif isinstance(error, UnicodeDecodeError):
            reason = f"byte {error.start + 1} is not UTF-8"
        raise SampleError(f"{where}: not valid JSON: {reason}.", hint) from None
    if not isinstance(value, dict):
        raise SampleError(f"{where}: expected a JSON object, found a {type(value).__name__}.", hint)
    return value
