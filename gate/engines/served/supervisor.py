"""Runs one server, and ends it with all its processes when the gate ends, however that happens.

`python -I -S supervisor.py GRACE COMMAND...`, in a session of its own. Standard input is a pipe that only the gate
writes to: its end means that the gate stopped the server, or was killed. Standard output and error are the server's
log. On Linux, processes that leave the server's process group stay children of this one (a child subreaper), so none
can stay behind. Only the standard library is used, and nothing of `gate` is imported: the start takes milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_POLL = 0.2  # seconds
_STOPPED = 0


class _Stop(Exception):  # noqa: N818 - not an error
    """The gate, or a signal, asks for the end of the server."""


def main() -> int:
    """Run the command until it ends or the gate does; return the exit status of the command, or 0 if it was stopped."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise_stop)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    server = subprocess.Popen(  # noqa: S603 - the command of gate.yml
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent
    )
    code = _STOPPED
    try:
        while (ended := _exit_status(server)) is None:
            readable, _, _ = select.select([0], [], [], _POLL)
            if (readable and not os.read(0, 1024)) or os.getppid() != parent:
                break
        code = _STOPPED if ended is None else ended
    except _Stop:
        pass
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _end(server, grace)
    return code


def _raise_stop(*_: object) -> None:
    raise _Stop


def _die_with_parent() -> None:
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _exit_status(server: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status of the server (128 + N for signal N), or None while it runs.

    It stays a zombie, so that nobody else gets the number of its process group.
    """
    ended = os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status


def _end(server: subprocess.Popen[bytes], grace: float) -> None:
    """Ask the server and its descendants to end, and kill those that remain after `grace` seconds."""
    _signal(server, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while _alive(server) and time.monotonic() < deadline:
        time.sleep(0.02)
    while _alive(server):  # a process can start another one between the look and the kill
        _signal(server, signal.SIGKILL)
        time.sleep(0.02)


def _alive(server: subprocess.Popen[bytes]) -> bool:
    return _exit_status(server) is None or bool(descendants(os.getpid()))


def _signal(server: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, number)
    for process in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def descendants(root: int) -> list[int]:
    """Return the running processes below a process; none where there is no /proc."""
    parents: dict[int, int] = {}
    zombies = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):  # it has just ended
            continue
        parents[int(entry.parent.name)] = int(parent)
        if state in "ZX":
            zombies.add(int(entry.parent.name))
    found, level = [], {root}
    while level := {process for process, parent in parents.items() if parent in level}:
        found += sorted(level - zombies)
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:  # the command cannot be started
        print(f"{sys.argv[2]}: {error.strerror or error}", file=sys.stderr)
        sys.exit(126 if isinstance(error, PermissionError) else 127)
