"""What the doctor says: one thing seen, whether it is well, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    what : str
        The thing, e.g. `GPU`.
    state : {"ok", "warn", "problem"}
        problem: `gate run` would not come to a verdict. warn: it would, but perhaps not as wished.
    text : str
        What was seen and what it means.
    remedy : str or None
        The next step, where there is something to do.
    """

    what: str
    state: State
    text: str
    remedy: str | None = None


def size(count: float) -> str:
    """Return a number of bytes for people, in units of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
