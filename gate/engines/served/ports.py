"""Ports of this machine: a free one, who listens on one, and who can reach it."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from gate.engines.served.command import HOST
from gate.errors import EvaluationError

# below the ports that systems hand out to any program that asks for a free one: a server may take a minute before it
# binds its port
_AUTO = range(20_000, 32_000)
_TRIES = 50
_LISTENING = "0A"
_LOOPBACK = ("7F",)  # last byte of an IPv4 address, which /proc writes first byte last
_LOOPBACK_6 = ("00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


def choose_port(port: int | Literal["auto"]) -> int:
    """Return a port that nobody listens on.

    Raises
    ------
    EvaluationError
        The port of gate.yml is taken, or the user may not use it.
    """
    if port == "auto":
        free = (each for each in random.sample(_AUTO, _TRIES) if _bind_error(each) is None)
        return next(free, 0) or _any_port()
    error = _bind_error(port)
    if error is not None:
        raise EvaluationError(
            f"engine.port is {port}, but this port of {HOST} cannot be used: {error}.",
            "Set engine.port: auto, or stop the process that listens on it.",
        )
    return port


def _bind_error(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_public(port: int) -> bool:
    """Return whether a port accepts connections from other machines; False where the system does not tell."""
    return any(not _is_loopback(address) for address, _ in _listeners(port))


def listens(processes: Iterable[int], port: int) -> bool:
    """Return whether one of the processes listens on a port; True where the system does not tell."""
    sockets = {f"socket:[{inode}]" for _, inode in _listeners(port)}
    if not sockets:
        return True
    for process in processes:
        with suppress(OSError):
            for file in Path(f"/proc/{process}/fd").iterdir():
                with suppress(OSError):
                    if str(file.readlink()) in sockets:
                        return True
    return False


def _listeners(port: int) -> Iterator[tuple[str, str]]:
    """Yield address (hexadecimal) and inode of each socket that listens on a port."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            address, _, number = fields[1].partition(":")
            if fields[3] == _LISTENING and int(number, 16) == port:
                yield address, fields[9]


def _is_loopback(address: str) -> bool:
    return address.endswith(_LOOPBACK) if len(address) == 8 else address in _LOOPBACK_6
