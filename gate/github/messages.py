"""Messages about publishing: what was left out or refused, and the next step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

from gate.github.annotations import ANNOTATION_LIMIT, annotation
from gate.github.client import GitHubError
from gate.github.context import Context
from gate.report.escape import log_line

VERDICT_STANDS = "The verdict is unaffected."


def warn(text: str) -> None:
    """Print one warning line on standard error."""
    click.echo(f"warning: {log_line(text, 2000)}", err=True)


@dataclass
class Messages:
    """Prints and collects warnings and notices.

    Attributes
    ----------
    annotate : bool
        Print warnings as annotations (up to GitHub's limit), else as lines on standard error.
    err : bool
        Print annotations on standard error too. The runner reads both streams.
    refused : bool
        Whether GitHub refused a request (see `refusal_as_warning`).
    """

    annotate: bool = True
    err: bool = False
    refused: bool = False
    warnings: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Report something that failed."""
        self.warnings.append(log_line(text, 1000))
        if self.annotate and len(self.warnings) < ANNOTATION_LIMIT:
            click.echo(annotation("warning", text, "quantgate"), err=self.err)
        else:
            warn(self.warnings[-1])

    def note(self, text: str) -> None:
        """Report something that was left out on purpose, or was done."""
        self.notices.append(log_line(text, 1000))
        click.echo(self.notices[-1], err=True)

    @contextmanager
    def refusal_as_warning(self, effect: str, context: Context, permission: str) -> Iterator[None]:
        """Report a `GitHubError` in the block as a warning that names its effect and the permission it needs."""
        try:
            yield
        except GitHubError as error:
            self.refused = True
            self.warn(f"{effect}: {_explain(error, context, permission)}")

    def waiting(self, seconds: float, reason: str) -> None:
        """Report a wait before the next attempt."""
        click.echo(f"waiting {seconds:.0f} s before the next request to GitHub: {log_line(reason)}", err=True)


def _explain(error: GitHubError, context: Context, permission: str) -> str:
    """Return an error of GitHub with its remedy; `permission` is what the request needs, e.g. `statuses: write`."""
    if error.status not in (401, 403, 404) or error.wait is not None:  # a malfunction or a rate limit
        return f"{error} {VERDICT_STANDS}"
    pull = context.event.pull_request
    if pull is not None and pull.from_fork:
        remedy = "The token of a pull request from a fork is read-only. Run"
    else:
        remedy = (
            f"Give the job `permissions: {permission}`. Where the token is read-only (pull requests from forks or "
            "Dependabot), run"
        )
    return (
        f"{error.message}. {remedy} `gate comment` on the uploaded result in a second workflow, triggered by "
        f"workflow_run. {VERDICT_STANDS}"
    )
