"""Run `support/tiny_server.py` through the gate, and find the processes that it leaves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("tiny_server.py")
MARK = "TINY_SERVER_MARK"


def tiny_command(*options: str) -> list[str]:
    """Return the command of the small server for gate.yml."""
    return [sys.executable, str(SCRIPT), "{model}", "{name}", "{host}", "{port}", *options]


def processes_with(mark: str) -> list[int]:
    """Return the processes that have a mark in their environment, and have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX":
                    found.append(int(folder.name))
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until a condition holds, and return its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition does not hold"
        time.sleep(0.05)
    return value
