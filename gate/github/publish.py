"""Publishes a verdict on GitHub: job summary, annotations, pull-request comment, commit status or check run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from gate.errors import ConfigError, GateError
from gate.github.annotations import candidates_annotations, path_in_repository, verdict_annotations
from gate.github.base_result import change_since, has_changed, read_base
from gate.github.client import Client, GitHubError
from gate.github.comment import comment_body, marker, post_comment
from gate.github.context import Context, file_path, on_github, read_context
from gate.github.inputs import CommentMode, Inputs
from gate.github.messages import Messages
from gate.github.pulls import commit_of, find_pull
from gate.github.status import (
    CHECK_SUMMARY_LIMIT,
    Mark,
    check_status_context,
    outcome_of,
    post_mark,
    status_description,
)
from gate.github.summary import append_summary
from gate.github.template import TemplateFailedError, read_template
from gate.report.candidates import AnyResult, CandidatesResult
from gate.report.candidates_markdown import markdown_of
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
    result = redact(result, secrets_of(environment, inputs.github_token))
    context = _context(inputs, environment, messages)
    if inputs.annotations:
        file = path_in_repository(config_path, file_path(environment.get("GITHUB_WORKSPACE")))
        for command in (
            candidates_annotations(result, file, inputs.report_only)
            if isinstance(result, CandidatesResult)
            else verdict_annotations(result, file, task_lines, inputs.report_only)
        ):
            click.echo(command)
    if inputs.summary:
        run_url = None if context is None else context.run_url
        _write_summary(file_path(environment.get("GITHUB_STEP_SUMMARY")), result, inputs.name, run_url, messages)
    url = None if context is None else _send(context, result, inputs, messages)
    sys.stdout.flush()
    return Published(url, tuple(messages.warnings), tuple(messages.notices))


def start(inputs: Inputs, environment: Mapping[str, str]) -> None:
    """Set the commit status or check run to pending, so that the one of an earlier run no longer counts.

    A run that is killed leaves `pending`, which blocks like an error. Never raises: the end of the run reports
    problems.
    """
    mark_kind = inputs.commit_mark
    if mark_kind == "none" or not inputs.github_token or not on_github(environment):
        return
    with suppress(GateError):
        context = read_context(environment)
        sha = commit_of(context)
        if sha is not None:
            with Client(context.api_url, inputs.github_token, budget=5.0, timeout=10.0) as client:
                mark = Mark(mark_kind, inputs.mark_name, context.run_id, context.run_url)
                post_mark(client, context.repository, sha, mark, "pending", "the evaluation is running")


def check_names(inputs: Inputs) -> None:
    """Raise a ConfigError if the name of the gate or of its commit status or check run is invalid."""
    marker(inputs.name)
    if inputs.commit_mark != "none":
        check_status_context(inputs.mark_name)


def _context(inputs: Inputs, environment: Mapping[str, str], messages: Messages) -> Context | None:
    """Return the job's context, or None with a warning: the summary and the annotations do without it."""
    try:
        return read_context(environment)
    except ConfigError as error:
        skipped = _skipped(inputs)
        messages.warn(f"Not written: {skipped}. {error}" if skipped else str(error))
        return None


def _skipped(inputs: Inputs) -> str:
    """Name what needs the context or the token."""
    mark = {"check": "the check run", "status": "the commit status", "none": ""}[inputs.commit_mark]
    return " and ".join(part for part in ("the comment" * (inputs.comment != "never"), mark) if part)


def _write_summary(path: Path | None, result: AnyResult, name: str, run_url: str | None, messages: Messages) -> None:
    if path is None:
        messages.warn("GITHUB_STEP_SUMMARY names no file, so there is no job summary.")
        return
    try:
        if not append_summary(path, result, name, run_url):
            messages.warn("The step's summary is full (1 MiB), so the report was not added.")
    except OSError as error:
        messages.warn(f"The job summary cannot be written: {error.strerror}.")


def _send(context: Context, result: AnyResult, inputs: Inputs, messages: Messages) -> str | None:
    """Send the commit status or check run, and the comment; return the address of the comment."""
    skipped = _skipped(inputs)
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
            if inputs.commit_mark != "none":
                mark = Mark(inputs.commit_mark, inputs.mark_name, context.run_id, context.run_url)
                _set_mark(client, context, result, mark, inputs, messages)
            if inputs.comment != "never":
                url = _post_comment(client, context, result, inputs, messages)
    except GitHubError as error:  # the address or the token is malformed
        messages.warn(f"Not written: {skipped}. {error}")
    return url


def _set_mark(
    client: Client, context: Context, result: AnyResult, mark: Mark, inputs: Inputs, messages: Messages
) -> None:
    sha = commit_of(context)
    if sha is None:
        messages.warn(f"{mark.title} was not set: the commit is unknown (GITHUB_SHA is not set).")
        return
    outcome, text = outcome_of(result, inputs.report_only), status_description(result)
    if inputs.report_only and result.blocks:
        text = f"report only: {text}"
    summary = ""
    if mark.kind == "check":
        summary = markdown_of(result, limit=CHECK_SUMMARY_LIMIT, full_report=context.run_url, name=inputs.name)
    with messages.refusal_as_warning(f"{mark.title} was not set", context, mark.permission):
        post_mark(client, context.repository, sha, mark, outcome, text, summary)


def _post_comment(
    client: Client, context: Context, result: AnyResult, inputs: Inputs, messages: Messages
) -> str | None:
    url = None
    base = read_base(inputs.base_result, messages)
    create = is_comment_wanted(inputs.comment, result, base)
    with messages.refusal_as_warning("No pull-request comment", context, "pull-requests: write"):
        lookup = find_pull(context, client)
        if lookup.pull is None:
            messages.note(f"No pull-request comment: {lookup.reason}.")
        else:
            body = comment_text(result, inputs, context.run_url, base, messages)
            number = lookup.pull.number
            url = post_comment(client, context.repository, number, inputs.name, body, messages.warn, create=create)
            if url is None:
                messages.note(f"No pull-request comment: comment is {inputs.comment}.")
    return url


def is_comment_wanted(mode: CommentMode, result: AnyResult, base: AnyResult | None) -> bool:
    """Return whether to create a comment where there is none."""
    if mode == "on-change":
        return has_changed(result, base)
    return mode == "always" or result.blocks or result.verdict == "FAIL"


def comment_text(
    result: AnyResult, inputs: Inputs, run_url: str | None, base: AnyResult | None, messages: Messages
) -> str:
    """Return the text of the comment: the user's template, or the report where there is none or it fails."""
    change = change_since(result, base)
    if inputs.report_only and result.blocks:
        change = f"**Report only: the job passes.**{' ' if change else ''}{change}"
    if inputs.comment_template is not None:
        try:
            template = read_template(Path(inputs.comment_template))
            return comment_body(result, inputs.name, run_url, change=change, template=template)
        except (ConfigError, TemplateFailedError) as error:
            messages.warn(f"The comment has the usual report instead of comment-template: {error}")
    return comment_body(result, inputs.name, run_url, change=change)
