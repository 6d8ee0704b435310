"""JSON files and JSON lines, also compressed, with errors that name file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json
from gate.common.compressed import open_binary, read_bytes
from gate.errors import SampleError

_BOM = b"\xef\xbb\xbf"
_OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")  # byte order marks of UTF-16 and UTF-32
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()
_LINE_HINT = (
    "Each line must be one JSON object in UTF-8. Check whether the file is truncated, or was written by two processes "
    "at once."
)


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the 1-based line number and the object of every line that is not blank.

    A file whose first character is "[" is one JSON list of objects; the numbers then are the lines where they begin.

    Raises
    ------
    SampleError
        A line is not a JSON object.
    """
    with open_binary(path) as lines:
        for number, raw in enumerate(lines, start=1):
            if number == 1 and raw.startswith(_OTHER_MARKS):
                raise SampleError(f"{path} is UTF-16 or UTF-32; expected UTF-8.", "Save it as UTF-8.")
            line = raw.removeprefix(_BOM) if number == 1 else raw
            if not line or line.isspace():
                continue
            if number == 1 and line.lstrip().startswith(b"["):
                break
            # with its line break, an error would name a column of the next line
            yield number, _object(line.rstrip(), f"{path}:{number}", _LINE_HINT)
        else:
            return
    yield from _list(path)


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
    hint = "The file must be one JSON object in UTF-8. Check whether it is truncated."
    return _object(read_bytes(path).removeprefix(_BOM), str(path), hint)


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object as it is, and an empty mapping for any other value."""
    return value if isinstance(value, Mapping) else {}


def as_text(value: object) -> str:
    """Return a text as it is and any other value as canonical JSON, both safe to store as UTF-8."""
    return clean_text(value if isinstance(value, str) else canonical_json(value))


def optional_text(value: object) -> str | None:
    """Return None as it is, and any other value as `as_text` does."""
    return None if value is None else as_text(value)


def clean_text(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot store."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _list(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line and the content of each object in a file that is one JSON list."""
    hint = "Expected a JSON list of objects in UTF-8. Check whether the file is truncated."
    content = read_bytes(path).removeprefix(_BOM)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise SampleError(f"{path}:{line_of(content, error.start)} is not UTF-8.", "Save it as UTF-8.") from None
    position, line, counted = _skip(text, text.index("[") + 1, ""), 1, 0
    while not text.startswith("]", position):
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error).partition("; use sys.")[0]
            raise SampleError(f"{path}:{line}: not valid JSON: {reason}.", hint) from None
        if not isinstance(value, dict):
            raise SampleError(f"{path}:{line}: expected a JSON object, found a {type(value).__name__}.", hint)
        yield line, value
        position = _skip(text, position, ",")
    if text[position + 1 :].strip():
        raise SampleError(f"{path}:{line}: there is text after the end of the JSON list.", hint)


def _skip(text: str, position: int, separator: str) -> int:
    """Return the position after white space and one separator."""
    end = _SPACE.match(text, position).end()  # type: ignore[union-attr]
    if separator and text.startswith(separator, end):
        end = _SPACE.match(text, end + 1).end()  # type: ignore[union-attr]
    return end


def line_of(content: bytes, position: int) -> int:
    """Return the 1-based line of a byte."""
    return content.count(b"\n", 0, position) + 1


def _object(content: bytes, where: str, hint: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("; use sys.")[0] or type(error).__name__
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg} at column {error.colno}"
        elif isinstance(error, UnicodeDecodeError):
            reason = f"byte {error.start + 1} is not UTF-8"
        raise SampleError(f"{where}: not valid JSON: {reason}.", hint) from None
    if not isinstance(value, dict):
        raise SampleError(f"{where}: expected a JSON object, found a {type(value).__name__}.", hint)
    return value
