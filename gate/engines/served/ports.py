"""Ports of this machine: a free one, and who can reach a listening one."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

from gate.engines.served.command import HOST
from gate.errors import EvaluationError

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
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, 0 if port == "auto" else port))
        except OSError as error:
            raise EvaluationError(
                f"engine.port is {port}, but this port of {HOST} cannot be used: {error.strerror}.",
                "Set engine.port: auto, or stop the process that listens on it.",
            ) from None
        return int(probe.getsockname()[1])


def is_public(port: int) -> bool:
    """Return whether a port accepts connections from other machines; False where the system does not tell."""
    for file in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            rows = file.read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            _, local, _, state, *_ = row.split()
            address, _, number = local.partition(":")
            if state == _LISTENING and int(number, 16) == port and not _is_loopback(address):
                return True
    return False


def _is_loopback(address: str) -> bool:
    return address.endswith(_LOOPBACK) if len(address) == 8 else address in _LOOPBACK_6
