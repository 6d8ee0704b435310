"""Files as bytes, decompressed where their name ends in .gz or .zst, with a limit on what they unpack to."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gate.errors import SampleError

COMPRESSED = (".gz", ".zst")
LIMIT = 16 << 30  # bytes after decompression
_BLOCK = 1 << 20
_TOO_LARGE = "Decompress it, and split it if it really is that large."


def plain_name(path: Path) -> str:
    """Return a file's name without the suffix of its compression.

    Examples
    --------
    >>> plain_name(Path("a/samples_arc.jsonl.gz")), plain_name(Path("base.csv"))
    ('samples_arc.jsonl', 'base.csv')
    """
    return path.name[: -len(path.suffix)] if is_compressed(path) else path.name


def is_compressed(path: Path) -> bool:
    """Return whether a file's name says that it is compressed."""
    return path.suffix.lower() in COMPRESSED


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading its decompressed bytes.

    Raises
    ------
    SampleError
        The compressed data is damaged, or larger than `LIMIT` bytes.
    """
    if not is_compressed(path):
        with path.open("rb") as plain:
            yield plain
        return
    try:
        with io.BufferedReader(_Limited(path), buffer_size=1 << 20) as stream:
            yield stream
    except (OSError, zlib.error, EOFError) as error:
        raise SampleError(f"{path} cannot be decompressed: {error}.", "Check whether it is truncated.") from None


def read_bytes(path: Path, limit: int = 2 << 30) -> bytes:
    """Return the decompressed bytes of a file.

    Raises
    ------
    SampleError
        See `open_binary`; or there are more than `limit` bytes.
    """
    content = io.BytesIO()  # `stream.read(limit + 1)` would take the memory of the limit at once
    with open_binary(path) as stream:
        while content.tell() <= limit and (block := stream.read(_BLOCK)):
            content.write(block)
    if content.tell() > limit:
        raise SampleError(f"{path} holds more than {limit >> 20} MiB.", _TOO_LARGE)
    return content.getvalue()


class _Limited(io.RawIOBase):
    """The decompressed bytes of a file; raises SampleError once they are more than `LIMIT`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._count = path, 0
        self._stream: gzip.GzipFile | IO[bytes]
        if path.suffix.lower() == ".gz":
            self._stream = gzip.open(path, "rb")  # noqa: SIM115 - closed by close()
        else:
            import pyarrow as pa

            self._stream = pa.input_stream(str(path), compression="zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        self._count += len(content)
        if self._count > LIMIT:
            raise SampleError(f"{self._path} unpacks to more than {LIMIT >> 30} GiB.", _TOO_LARGE)
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
