"""`gate comment`: publish the result of a pull request from a fork, with a token that may write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--pr", type=click.IntRange(min=1), help="Number of the pull request; default: looked up by the commit.")
@click.option("--name", default="quantgate", show_default=True, help="Name of the gate; each name has its own comment.")
@click.option("--repo", help="owner/name; default: GITHUB_REPOSITORY.")
@click.option("--sha", help="Commit that was evaluated; default: from the workflow_run event.")
@click.option("--status-context", help="Also set a commit status of this name; never for a fork.")
@click.option("--dry-run", is_flag=True, help="Print the comment; send nothing.")
def command(**options: Any) -> int:
    """Post RESULT (a gate-result.json) as a pull-request comment, or update the existing comment.

    For workflows started by workflow_run, after the workflow of a fork's pull request uploaded its result. The file is
    treated as untrusted: it is validated and rendered again. The token comes from GITHUB_TOKEN or GH_TOKEN. Exits with
    0 regardless of the verdict, 2 if the file or the pull request is refused, 4 if GitHub rejects the comment.
    """
    import os

    from gate.errors import ExitCode
    from gate.github.fork_comment import CommentRequest, post_fork_comment

    outcome = post_fork_comment(CommentRequest(**options), os.environ)
    if outcome.preview is not None:
        click.echo(outcome.preview, nl=False)
    return ExitCode.PASS if outcome.complete else ExitCode.EVALUATION
