"""Where a server runs, and who hears about it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Context:
    """The surroundings of a server.

    Attributes
    ----------
    folder : Path
        Folder of gate.yml: the server's working directory, and what relative paths of programs start from.
    logs : Path
        Folder of the servers' logs; it is created.
    message : callable
        Receives messages about the start of a server.
    """

    folder: Path = field(default_factory=Path.cwd)
    logs: Path = field(default_factory=lambda: Path(tempfile.gettempdir()) / "quantgate-servers")
    message: Callable[[str], None] = lambda _: None
