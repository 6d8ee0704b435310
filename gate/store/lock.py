"""One writer of a set at a time."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from gate.errors import EvaluationError
from gate.files import writing


@contextmanager
def one_writer(folder: Path, say: Callable[[str], None] = lambda _: None, wait: float = 0) -> Iterator[None]:
    """Hold the lock of a set's folder; the lock file beside it names its holder.

    The kernel frees the lock when its process dies, however it dies, so a lock file that is left over hinders nobody.
    Between machines the lock holds where the file system carries locks (NFS with its lock service); where it does not,
    a second writer is told of the first one's unfinished entry, and goes on.

    Parameters
    ----------
    folder : Path
        The set's folder; need not exist yet.
    say : callable
        Told of an unfinished entry of another machine.
    wait : float
        Seconds to wait for the lock.

    Raises
    ------
    EvaluationError
        Another process writes this set, or the place cannot be written.
    """
    path = folder.parent / f".{folder.name}.lock"
    lock = FileLock(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=wait)
        except Timeout:
            raise EvaluationError(
                f"{folder} is being written by {_holder(path) or 'another process'}.",
                "Wait until it has finished, or stop it; what it finished so far is kept.",
            ) from None
    try:
        left = _read(path)
        if left.get("host", socket.gethostname()) != socket.gethostname():
            say(
                f"{folder.name}: {_describe(left)} began to write this set and did not finish; if it still runs, stop "
                "one of the two (this file system may not carry locks between machines)"
            )
        entry = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with writing(path):
            path.write_text(json.dumps(entry) + "\n", encoding="utf-8")
        yield
        # the file stays, empty: removing it could let in two writers at once
    finally:
        with suppress(OSError):
            path.write_text("", encoding="utf-8")
        lock.release()


def _holder(path: Path) -> str:
    entry = _read(path)
    return _describe(entry) if entry else ""


def _describe(entry: dict[str, object]) -> str:
    return f"process {entry.get('pid')} on {entry.get('host')} (since {entry.get('since')})"


def _read(path: Path) -> dict[str, object]:
    """Return the entry in a lock file; empty where there is none or it cannot be read (Windows locks the file)."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}
