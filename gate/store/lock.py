"""A lock that allows one writer of a sample set at a time."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gate.common.files import writing
from gate.errors import EvaluationError


@contextmanager
def one_writer(folder: Path, message: Callable[[str], None] = lambda _: None, wait: float = 0) -> Iterator[None]:
    """Hold the lock of a set's folder; the lock file beside it names the holder.

    The kernel releases the lock when its process dies, so a leftover lock file blocks nobody. Locks work between
    machines if the file system supports them (NFS with its lock service). If it does not, the second writer reports the
    first one's entry to `message` and continues.

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
    lock = FileLock(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=wait)
        except Timeout:
            holder = _read_entry(path)
            raise EvaluationError(
                f"{folder} is being written by {_describe(holder) if holder else 'another process'}.",
                "Wait until it has finished, or stop it; its finished work is kept.",
            ) from None
    try:
        previous = _read_entry(path)
        if previous.get("host", socket.gethostname()) != socket.gethostname():
            message(
                f"{folder.name}: {_describe(previous)} started to write this set and did not finish. If it is still "
                "running, stop one of the two: this file system may not support locks between machines"
            )
        entry = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with writing(path):
            path.write_text(json.dumps(entry) + "\n", encoding="utf-8")
        yield
    finally:
        # the empty file stays: removing it could let two writers in at once
        with suppress(OSError):
            path.write_text("", encoding="utf-8")
        lock.release()


def _describe(entry: dict[str, object]) -> str:
    return f"process {entry.get('pid')} on {entry.get('host')} (since {entry.get('since')})"


def _read_entry(path: Path) -> dict[str, object]:
    """Return the entry in a lock file; empty if there is none or it is unreadable (Windows locks the file)."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}
