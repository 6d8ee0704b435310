"""Publishes a verdict on GitHub: job summary, annotations, pull-request comment and commit status."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from gate.errors import ConfigError
from gate.github.annotations import candidates_annotations, path_in_repository, verdict_annotations
from gate.github.client import Client, GitHubError
from gate.github.comment import comment_body, marker, post_comment
from gate.github.context import Context, on_github, read_context
from gate.github.inputs import Inputs
from gate.github.messages import Messages
from gate.github.pulls import commit_of, find_pull
from gate.github.status import check_status_context, post_status, status_description, status_state
from gate.github.summary import append_summary
from gate.report.candidates import AnyResult, CandidatesResult
from gate.report.redact import redact, secrets_of


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes
    ----------
    comment_url : str or None
        Address of the pull-request comment; None if there is no pull request or the comment was refused.
    warnings : tuple of str
        Failures and their remedies, already printed. They never change the exit code.
    notices : tuple of str
        What was left out on purpose, for example because there is no pull request. Already printed.
    """

    comment_url: str | None = None
    warnings: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def publish(
    result: AnyResult,
    inputs: Inputs,
    config_path: Path | None,
    task_lines: Mapping[str, int],
    environment: Mapping[str, str],
) -> Published:
    """Publish a verdict. Annotations are printed to standard output, problems are printed as warnings.

    Parameters
    ----------
    inputs : Inputs
        What to publish, and the token. Without a token, comment and status are skipped with a warning.
    config_path : Path or None
        gate.yml, for annotations.
    task_lines : mapping of str to int
        Line of each task in gate.yml, from 1.

    Returns
    -------
    Published
        Errors of GitHub are warnings in it, never exceptions.

    Raises
    ------
    ConfigError
        The name of the gate or of the status is invalid. Nothing has been published then.
    """
    check_names(inputs)
    if not on_github(environment):
        return Published(notices=("Not a job of GitHub Actions: nothing was published.",))
    messages = Messages(annotate=inputs.annotations)
    try:
        context = read_context(environment)
    except ConfigError as error:
        messages.warn(f"Nothing was published on GitHub. {error}")
        return Published(warnings=tuple(messages.warnings))
    result = redact(result, secrets_of(environment, inputs.github_token))
    if inputs.annotations:
        file = path_in_repository(config_path, context.workspace)
        for command in (
            candidates_annotations(result, file)
            if isinstance(result, CandidatesResult)
            else verdict_annotations(result, file, task_lines)
        ):
            click.echo(command)
    if inputs.summary:
        _write_summary(context, result, inputs.name, messages)
    url = _send(context, result, inputs, messages)
    sys.stdout.flush()
    return Published(url, tuple(messages.warnings), tuple(messages.notices))


def check_names(inputs: Inputs) -> None:
    """Raise a ConfigError if the name of the gate or of the commit status is invalid."""
    marker(inputs.name)
    if inputs.status_context is not None:
        check_status_context(inputs.status_context)


def _write_summary(context: Context, result: AnyResult, name: str, messages: Messages) -> None:
    if context.summary is None:
        messages.warn("GITHUB_STEP_SUMMARY names no file, so there is no job summary.")
        return
    try:
        if not append_summary(context.summary, result, name, context.run_url):
            messages.warn("The step's summary is full (1 MiB), so the report was not added.")
    except OSError as error:
        messages.warn(f"The job summary cannot be written: {error.strerror}.")


def _send(context: Context, result: AnyResult, inputs: Inputs, messages: Messages) -> str | None:
    """Send the commit status and the comment; return the address of the comment."""
    parts = {"the comment": inputs.comment, "the commit status": inputs.status_context is not None}
    skipped = " and ".join(part for part, wanted in parts.items() if wanted)
    if not skipped:
        return None
    if not inputs.github_token:
        messages.warn(
            f"There is no GitHub token, so {skipped} cannot be written. Pass github-token: ${{{{ github.token }}}}."
        )
        return None
    url = None
    try:
        with Client(context.api_url, inputs.github_token, waiting=messages.waiting) as client:
            if inputs.status_context is not None:
                _set_status(client, context, result, inputs.status_context, messages)
            if inputs.comment:
                url = _post_comment(client, context, result, inputs.name, messages)
    except GitHubError as error:  # the address or the token is malformed
        messages.warn(f"Not written: {skipped}. {error}")
    return url


def _set_status(client: Client, context: Context, result: AnyResult, name: str, messages: Messages) -> None:
    sha = commit_of(context)
    if sha is None:
        messages.warn("No commit status: the commit is unknown (GITHUB_SHA is not set).")
        return
    state, text = status_state(result), status_description(result)
    with messages.refusal_as_warning(f"The commit status {name} was not set", context, "statuses: write"):
        post_status(client, context.repository, sha, name, state, text, context.run_url)


def _post_comment(client: Client, context: Context, result: AnyResult, name: str, messages: Messages) -> str | None:
    url = None
    with messages.refusal_as_warning("No pull-request comment", context, "pull-requests: write"):
        lookup = find_pull(context, client)
        if lookup.pull is None:
            messages.note(f"No pull-request comment: {lookup.reason}.")
        else:
            body = comment_body(result, name, context.run_url)
            url = post_comment(client, context.repository, lookup.pull.number, name, body, messages.warn)
    return url
