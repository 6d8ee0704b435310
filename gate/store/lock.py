"""Locks between processes: one writer of a sample set, one run at a time in a history."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from gate.common.files import remove, write_text, writing
from gate.errors import EvaluationError

_LOG = logging.getLogger(__name__)
_NO_FLOCK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
_SILENT = 10.0  # seconds of waiting before a message names the holder


@contextmanager
def one_writer(folder: Path, message: Callable[[str], None] = lambda _: None, wait: float = 0) -> Iterator[None]:
    """Hold the lock of a set's folder; a file beside it names the holder.

    The kernel releases the lock when its process dies, so leftover files block nobody. Locks work between machines if
    the file system supports them (NFS with its lock service). If it does not, the second writer reports the first one's
    entry to `message` and continues.

    Parameters
    ----------
    folder : Path
        Folder of the set; need not exist.
    wait : float
        Seconds to wait for the lock.

    Raises
    ------
    EvaluationError
        Another process is writing the set, or the lock file cannot be written.
    """
    path = folder.parent / f".{folder.name}.lock"
    with hold(path, f"{folder} is being written", wait) as previous:
        if previous.get("host", socket.gethostname()) != socket.gethostname():
            message(
                f"{folder.name}: {_describe(previous)} started to write this set and did not finish. If it is still "
                "running, stop one of the two: this file system may not support locks between machines"
            )
        yield


@contextmanager
def hold(path: Path, busy: str, wait: float = 0) -> Iterator[dict[str, object]]:
    """Hold a lock file, with an entry about this process in a file beside it.

    Yields the entry that a process left that was killed while it held the lock; empty if there is none. A log message
    names the holder after 10 seconds of waiting.

    Parameters
    ----------
    path : Path
        The lock file.
    busy : str
        What the error says is going on, for example "the set is being written".
    wait : float
        Seconds to wait for the lock.

    Raises
    ------
    EvaluationError
        Another process holds the lock, or the lock file cannot be written.
    """
    # not in the lock file: where flock is missing, that file holds filelock's own record of the holder
    entry = path.with_suffix(".holder")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        try:
            lock = _acquire(path, min(wait, _SILENT))
        except Timeout:
            holder = _describe(_read_entry(entry))
            try:
                if wait <= _SILENT:
                    raise
                _LOG.warning("%s by %s; waiting up to %.0f s", busy, holder, wait - _SILENT)
                lock = _acquire(path, wait - _SILENT)
            except Timeout:
                raise EvaluationError(
                    f"{busy} by {holder}.", "Wait until it has finished, or stop it; its finished work is kept."
                ) from None
    try:
        previous = _read_entry(entry)
        own = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_text(entry, json.dumps(own) + "\n")
        yield previous
    finally:
        with suppress(OSError):
            remove(entry)
        lock.release()


def _acquire(path: Path, wait: float) -> BaseFileLock:
    """Lock with flock, or with a file that names its process where the file system has no flock."""
    lock: BaseFileLock = FileLock(path)
    try:
        lock.acquire(timeout=wait)
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        lock = SoftFileLock(path.with_suffix(".soft-lock"))
        lock.acquire(timeout=wait)
    return lock


def _describe(entry: dict[str, object]) -> str:
    if not entry:
        return "another process"
    return f"process {entry.get('pid')} on {entry.get('host')} (since {entry.get('since')})"


def _read_entry(path: Path) -> dict[str, object]:
    """Return the entry of a lock's holder; empty if there is none or it is unreadable."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}
