"""What a command shows while it works: notices and a progress bar, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from gate.workflow_commands import disarm


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} items/s")


class Screen:
    """Where a command tells what it does.

    Parameters
    ----------
    quiet : bool
        Only errors and the verdict.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.err = Console(stderr=True, highlight=False)
        # without a terminal a table is as wide as its content needs, not 80 columns
        self.out = Console(highlight=False)
        if not self.out.is_terminal:
            self.out = Console(highlight=False, width=160)

    def say(self, text: str) -> None:
        """Print a line about what happens."""
        if not self.quiet:
            self.err.print(Text(disarm(text)), soft_wrap=True)

    @contextmanager
    def progress(self, what: str, items: int) -> Iterator[Callable[[int], None]]:
        """Show a bar with rate and time left; yields the function to call with each number of finished items."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.err, disable=self.quiet or not self.err.is_terminal) as bar:
            task = bar.add_task(what, total=items)
            yield lambda count: bar.advance(task, count)
