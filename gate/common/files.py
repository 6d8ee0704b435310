"""Atomic file writes, and operating-system errors that name the file and the next step."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gate.errors import EvaluationError

_STALE = 24 * 3600.0  # seconds


def write_text(path: Path, text: str, temporary: Path | None = None) -> None:
    """Write a text file atomically: readers see the old content or the new, never a mix.

    Lone surrogates are written as "?". The text is first written to `temporary` (in the same folder;
    by default a random name), which is then renamed to `path`. Random names that killed processes left more than a day
    ago are removed. Devices and streams (/dev/null, /dev/stdout, /dev/fd/63) are written to and stay what they are.

    Raises
    ------
    EvaluationError
        The disk is full or the file cannot be written.
    """
    with writing(path):
        if not path.name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_stream(path):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as stream:
                stream.write(text.encode("utf-8", "replace"))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if temporary is None:
            remove_stale(path)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            write_bytes(temporary, text.encode("utf-8", "replace"))
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    """Return whether a path is an entry of /dev or /proc that is no file: root could replace the device by a file."""
    folder = path.parent.resolve()
    if not folder.is_relative_to("/dev") and not folder.is_relative_to("/proc"):
        return False
    try:
        kind = path.lstat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(kind) and not stat.S_ISDIR(kind) and folder != Path("/dev/shm")  # noqa: S108


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file and flush it to disk. A symbolic link is replaced, not followed: the workspace may be hostile."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o666), "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def remove_stale(path: Path) -> None:
    """Remove what writers of a file or folder left that were killed more than a day ago: `.NAME.*.tmp` beside it."""
    for other in path.parent.iterdir():
        if other.name.startswith(f".{path.name}.") and other.name.endswith(".tmp"):
            with suppress(OSError):
                if time.time() - other.lstat().st_mtime > _STALE:
                    remove(other)


def remove(path: Path) -> None:
    """Remove a file, a folder with its contents, or a symbolic link (not its target), if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def same_file(first: Path, second: Path) -> bool:
    """Return whether two paths are the same file, or would be once they are written."""
    try:
        return first.samefile(second)
    except OSError:
        return first.resolve() == second.resolve()


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
