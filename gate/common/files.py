"""Atomic file writes, and operating-system errors that name the file and the next step."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gate.errors import EvaluationError


def write_text(path: Path, text: str, temporary: Path | None = None) -> None:
    """Write a text file atomically: readers see the old content or the new, never a mix.

    Lone surrogates are written as "?". The text is first written to `temporary` (in the same folder;
    by default a name unique to this process), which is then renamed to `path`.

    Raises
    ------
    EvaluationError
        The disk is full or the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            write_bytes(temporary, text.encode("utf-8", "replace"))
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file and flush it to disk."""
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise operating-system errors as an EvaluationError that names the path and the next step."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise EvaluationError(
            f"{path} cannot be written: {'no space left' if full else error.strerror or error}.",
            "Free some space or choose another location; files written earlier are unchanged.",
        ) from error
