"""The terminal: messages and progress on standard error, results on standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click
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

from gate.common.workflow_commands import disarm

if TYPE_CHECKING:
    from gate.report import Result
    from gate.report.candidates import CandidatesResult


class _Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} items/s")


class Terminal:
    """Reports to the terminal; see `gate.app.reporter.Reporter`.

    Parameters
    ----------
    quiet : bool
        Show errors and the verdict only.
    print_json : bool
        Print a result as JSON instead of tables.
    flips : int
        Number of the worst flips to print with a result.
    """

    def __init__(self, quiet: bool = False, print_json: bool = False, flips: int = 5) -> None:
        self.quiet = quiet
        self._print_json = print_json
        self._flips = 0 if quiet else flips
        self.err = Console(stderr=True, highlight=False)
        # without a terminal a table is as wide as its content needs, not 80 columns
        self.out = Console(highlight=False)
        if not self.out.is_terminal:
            self.out = Console(highlight=False, width=160)

    def message(self, text: str) -> None:
        """Print a line of progress."""
        if not self.quiet:
            # a log that nobody can read must not end an evaluation; rich exits if the reader went away
            with suppress(OSError, SystemExit):
                self.err.print(Text(disarm(text)), soft_wrap=True)

    @contextmanager
    def progress(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar with rate and time left."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.err, disable=self.quiet or not self.err.is_terminal) as bar:
            task = bar.add_task(description, total=total)
            yield lambda count: bar.advance(task, count)

    def result(self, result: Result) -> None:
        """Print a result to standard output."""
        from gate.report import print_result, to_json

        with _readable():
            if self._print_json:
                click.echo(to_json(result), nl=False)
            else:
                print_result(result, self.out, flips=self._flips)

    def candidates(self, result: CandidatesResult) -> None:
        """Print the results of several candidates to standard output."""
        from gate.report.candidates import candidates_json
        from gate.report.candidates_terminal import print_candidates

        with _readable():
            if self._print_json:
                click.echo(candidates_json(result), nl=False)
            else:
                print_candidates(result, self.out)


@contextmanager
def _readable() -> Iterator[None]:
    """Raise a BrokenPipeError if the reader went away; rich ends the process instead."""
    try:
        yield
    except SystemExit:
        raise BrokenPipeError("nobody reads standard output") from None
