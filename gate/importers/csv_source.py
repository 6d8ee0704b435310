"""What a CSV file is like before it is parsed: encoding, delimiter, Excel's `sep=` line, and where it is broken."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from gate.common.compressed import is_compressed, open_binary, read_bytes
from gate.common.jsonlines import line_of
from gate.errors import SampleError
from gate.importers.files import READABLE, suffix_of

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UTF32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
_HEAD = 1 << 20  # bytes; the header is among them
_DELIMITERS = (",", ";", "\t", "|")
_NAMES = ("task", "item_id")  # a header has these; other delimiters than the right one hide them
NOT_UTF8 = "Save it as UTF-8. Windows programs often write Windows-1252 or Latin-1."


@dataclass(frozen=True)
class CsvSource:
    """A CSV file as a parser takes it.

    Attributes
    ----------
    content : bytes or None
        The text in UTF-8 where the file is not plain UTF-8 itself.
    skip : int
        Lines before the header: 1 for Excel's `sep=;`.
    header : list of str
    """

    path: Path
    content: bytes | None
    delimiter: str
    skip: int
    header: list[str]

    def open(self) -> str | pa.BufferReader:
        """Return what `pyarrow.csv.read_csv` reads."""
        return str(self.path) if self.content is None else pa.BufferReader(self.content)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.path.stat().st_size if self.content is None else len(self.content)

    def fault(self) -> str:
        """Return file:line of the first row that has another number of fields than the header, else the file."""
        content = read_bytes(self.path) if self.content is None else self.content
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=self.delimiter)
        try:
            for row in reader:
                if row and reader.line_num > self.skip and len(row) != len(self.header):
                    return f"{self.path}:{reader.line_num}"
        except csv.Error:
            return f"{self.path}:{reader.line_num + 1}"
        return str(self.path)


def csv_source(path: Path) -> CsvSource:
    """Look at a CSV file.

    Raises
    ------
    SampleError
        The header is not valid CSV, or the text is UTF-16 without a byte order mark.
    """
    with open_binary(path) as stream:
        head = stream.read(_HEAD)
    content = None
    if head.startswith(_UTF32):
        raise SampleError(f"{path} is UTF-32.", "Save it as UTF-8.")
    if head.startswith(_UTF16):
        try:
            content = read_bytes(path).decode("utf-16").encode()
        except UnicodeError as error:
            raise SampleError(f"{path} is not valid UTF-16: {error}.", "Save it as UTF-8.") from None
        head = content[:_HEAD]
    elif b"\0" in head:
        raise SampleError(
            f"{path} holds NUL bytes; it looks like UTF-16 without a byte order mark, or is no text at all.",
            "Save it as UTF-8.",
        )
    elif is_compressed(path):
        content = read_bytes(path)
    lines = head.decode("utf-8-sig", "replace")
    first = lines.split("\n", 1)[0].strip().strip('"')
    skip, delimiters = 0, list(_DELIMITERS)
    if first.lower().startswith("sep=") and len(first) == 5:
        skip, delimiters = 1, [first[4]]
        lines = lines.partition("\n")[2]
    elif suffix_of(path) in (".tsv", ".txt"):
        delimiters = ["\t", *_DELIMITERS]
    headers = {delimiter: _header(path, lines, delimiter) for delimiter in delimiters}
    fitting = [delimiter for delimiter, header in headers.items() if all(name in header for name in _NAMES)]
    delimiter = (fitting or delimiters)[0]
    return CsvSource(path, content, delimiter, skip, headers[delimiter])


def refuse_other_encodings(path: Path) -> None:
    """Raise SampleError, with the line, if a file is not UTF-8."""
    content = read_bytes(path)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise SampleError(
            f"{path}:{line_of(content, error.start)} is not UTF-8 (byte 0x{content[error.start]:02x}).", NOT_UTF8
        ) from None


def _header(path: Path, lines: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(lines, newline=""), delimiter=delimiter), [])
    except csv.Error as error:
        raise SampleError(f"{path}:1: not valid CSV: {error}.", READABLE) from None
