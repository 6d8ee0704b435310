"""One verdict to all the places on GitHub where people look for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from gate.errors import ConfigError
from gate.github.annotations import LIMIT, annotation, annotations_of, relative_file
from gate.github.client import Client, GitHubError
from gate.github.comment import comment_body, marker, post_comment
from gate.github.context import Context, on_github, read_context
from gate.github.pulls import commit_of, find_pull
from gate.github.status import check_context, describe, post_status, state_of
from gate.github.summary import append_summary
from gate.report.escape import log_line
from gate.report.markdown import is_address
from gate.report.redact import redact, secrets_of
from gate.report.result import Result


@dataclass(frozen=True)
class Published:
    """What reached GitHub.

    Attributes
    ----------
    comment_url : str or None
        Address of the pull request's comment; None where there is no pull request or it could not be written.
    warnings : tuple of str
        What did not work and what to do about it. Already shown, never a reason for another exit code.
    notices : tuple of str
        What was left out for a good reason, such as no pull request. Already shown.
    """

    comment_url: str | None = None
    warnings: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass
class _Log:
    """Collects warnings and notices and shows them: as annotations, or as lines on standard error."""

    annotate: bool
    warnings: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        self.warnings.append(log_line(text, 1000))
        if self.annotate and len(self.warnings) < LIMIT:
            click.echo(annotation("warning", text, "quantgate"))
        else:
            click.echo(f"warning: {self.warnings[-1]}", err=True)

    def note(self, text: str) -> None:
        self.notices.append(log_line(text, 1000))
        click.echo(self.notices[-1], err=True)

    def waiting(self, seconds: float, why: str) -> None:
        click.echo(f"waiting {seconds:.0f} s before asking GitHub again: {log_line(why)}", err=True)


def publish(
    result: Result,
    *,
    config_path: Path | None,
    task_lines: Mapping[str, int],
    name: str,
    comment: bool,
    status_context: str | None,
    summary: bool,
    annotations: bool,
    token: str | None,
    environment: Mapping[str, str] = os.environ,
    report_url: str | None = None,
) -> Published:
    """Show a verdict on GitHub: job summary, annotations, pull-request comment and commit status.

    Prints annotations to standard output, and shows its own warnings and notices, so callers need not.

    Parameters
    ----------
    result : Result
    config_path : Path or None
        gate.yml, for annotations; None where there is none.
    task_lines : mapping of str to int
        Line of each task in gate.yml, from 1; `gate.github.task_lines` gives it.
    name : str
        Name of the gate; one comment per name and pull request.
    comment, summary, annotations : bool
        Which of these to write.
    status_context : str or None
        Name of the commit status, for branch protection; None for no status.
    token : str or None
        GitHub token; without one neither comment nor status is written, with a warning.
    environment : mapping of str to str
        The runner's environment.
    report_url : str or None
        Address of the whole report; default: the workflow run.

    Returns
    -------
    Published
        Refusals of GitHub are warnings in it, never exceptions.

    Raises
    ------
    ConfigError
        `name` or `status_context` is not valid. Nothing has been written then.
    """
    marker(name)
    if status_context is not None:
        status_context = check_context(status_context)
    if not on_github(environment):
        return Published(notices=("This is no job of GitHub Actions: nothing was published.",))
    log = _Log(annotations)
    try:
        context = read_context(environment)
    except ConfigError as error:
        log.warn(f"Nothing was published on GitHub. {error}")
        return Published(warnings=tuple(log.warnings))
    result = redact(result, secrets_of(environment, token))
    link = report_url or context.run_url
    if report_url and not is_address(report_url):
        log.warn(
            "The address of the whole report cannot be linked; the report links to the workflow run instead."
        )
        link = context.run_url
    if annotations:
        file = relative_file(config_path, context.workspace)
        for command in annotations_of(result, file, task_lines):
            click.echo(command)
    if summary:
        _summarise(context, result, name, link, log)
    url = None
    if comment or status_context is not None:
        url = _send(context, result, name if comment else None, status_context, token, link, log)
    sys.stdout.flush()
    return Published(url, tuple(log.warnings), tuple(log.notices))


def publish_no_verdict(status_context: str, token: str, environment: Mapping[str, str]) -> None:
    """Set the commit status to `error`: a success that an earlier run set for this commit must not stand.

    Parameters
    ----------
    status_context, token : str
    environment : mapping of str to str
        The runner's.

    Raises
    ------
    ConfigError, GitHubError
        The name or the environment is wrong; GitHub does not allow it, or cannot be reached.
    """
    name = check_context(status_context)
    context = read_context(environment)
    sha = commit_of(context)
    if sha is None:
        raise ConfigError("The commit is not known (GITHUB_SHA is not set).")
    with Client(context.api_url, token, budget=60.0) as client:
        text = "no verdict: the evaluation could not be completed; see the job's log"
        post_status(client, context.repository, sha, name, "error", text, context.run_url)


def _summarise(context: Context, result: Result, name: str, link: str | None, log: _Log) -> None:
    if context.summary is None:
        log.warn("GITHUB_STEP_SUMMARY names no file, so there is no job summary.")
        return
    try:
        if not append_summary(context.summary, result, name, link):
            log.warn("The step's summary is full (1 MiB); the report is not in it.")
    except OSError as error:
        log.warn(f"The job summary cannot be written: {error.strerror}.")


def _send(
    context: Context,
    result: Result,
    name: str | None,
    status_context: str | None,
    token: str | None,
    link: str | None,
    log: _Log,
) -> str | None:
    """Write comment and status; return the comment's address."""
    what = " and ".join(
        ["the comment"] * (name is not None) + ["the commit status"] * (status_context is not None)
    )
    if not token:
        log.warn(
            f"There is no GitHub token, so {what} is not written. Pass github-token: ${{{{ github.token }}}}."
        )
        return None
    url = None
    try:
        with Client(context.api_url, token, waiting=log.waiting) as client:
            if status_context is not None:
                _status(client, context, result, status_context, link, log)
            if name is not None:
                url = _comment(client, context, result, name, link, log)
    except GitHubError as error:  # the client's own address or token
        log.warn(f"Not written: {what}. {error}")
    return url


def _status(client: Client, context: Context, result: Result, name: str, link: str | None, log: _Log) -> None:
    sha = commit_of(context)
    if sha is None:
        log.warn("No commit status: the commit is not known (GITHUB_SHA is not set).")
        return
    try:
        post_status(client, context.repository, sha, name, state_of(result), describe(result), link)
    except GitHubError as error:
        log.warn(f"The commit status {name} was not set: {advice(error, context, 'statuses: write')}")


def _comment(
    client: Client, context: Context, result: Result, name: str, link: str | None, log: _Log
) -> str | None:
    try:
        found = find_pull(context, client)
        if found.pull is None:
            log.note(f"No pull-request comment: {found.why}.")
            return None
        body = comment_body(result, name, link)
        posted = post_comment(client, context.repository, found.pull.number, name, body)
    except GitHubError as error:
        log.warn(f"No pull-request comment: {advice(error, context, 'pull-requests: write')}")
        return None
    for text in posted.warnings:
        log.warn(text)
    return posted.url


def advice(error: GitHubError, context: Context, permission: str) -> str:
    """Return a refusal with what to do about it."""
    if error.status not in (401, 403, 404) or error.wait is not None:  # broken, or a rate limit
        return f"{error} The verdict stands."
    pull = context.event.pull_request
    fork = pull is not None and pull.from_fork
    way = (
        "The token of a fork's pull request may only read. Let a second workflow, started by workflow_run, run "
        "`gate comment` on the uploaded result"
        if fork
        else f"Give the job `permissions: {permission}`; where the token may only read (pull requests from forks or "
        "Dependabot), let a second workflow, started by workflow_run, run `gate comment` on the uploaded result"
    )
    return f"{error.message}. {way}. The verdict stands."
