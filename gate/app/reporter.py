"""How `gate.run` and the other functions report progress; the command line, the action and notebooks differ."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gate.report import Result
    from gate.report.candidates import CandidatesResult


class Reporter(Protocol):
    """Receives messages, progress and the result from `gate.run` and the other functions."""

    def message(self, text: str) -> None:
        """Show one line of progress or a warning."""

    def progress(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Open a progress bar over `total` items; the context's value is called with each number of finished items."""

    def result(self, result: Result) -> None:
        """Show the verdict. Called before any report file is written, so that a full disk cannot hide it."""

    def candidates(self, result: CandidatesResult) -> None:
        """Show the verdicts on several candidates; as `result`."""


class SilentReporter:
    """Shows nothing: the default of the Python API."""

    def message(self, text: str) -> None:
        """Ignore the message."""

    def progress(self, description: str, total: int) -> AbstractContextManager[Callable[[int], None]]:  # noqa: ARG002
        """Ignore the progress."""
        return nullcontext(lambda _: None)

    def result(self, result: Result) -> None:
        """Ignore the result."""

    def candidates(self, result: CandidatesResult) -> None:
        """Ignore the results."""
