"""A finding of `gate doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    what : str
        What was checked, e.g. `GPU`.
    state : {"ok", "warn", "problem"}
        problem: `gate run` cannot reach a verdict. warn: it can, but perhaps not as intended.
    text : str
        What was found and what it means.
    remedy : str or None
        The next step, if one is needed.
    """

    what: str
    state: State
    text: str
    remedy: str | None = None


def size(count: float) -> str:
    """Format a number of bytes in units of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
