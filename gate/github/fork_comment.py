"""`gate comment`, the second stage of the flow for forks: an untrusted result file, posted with a token that may write.

The first stage (`pull_request`) runs the fork's code without secrets and uploads its result. The second stage
(`workflow_run`) runs the default branch's code with a token that may write. It must not trust the file: the author of
the pull request could have written any verdict into it. So the result is shown only on that pull request and its head
commit, and never as a commit status on a fork's commit, where branch protection would accept a forged success.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.errors import ConfigError
from gate.github.client import Client
from gate.github.comment import comment_body, marker, post_comment
from gate.github.context import COMMIT_SHA, Context, PullRequest, read_context
from gate.github.messages import Messages
from gate.github.pulls import PullLookup, check_pull, find_pull, get_pull
from gate.github.status import Mark, Outcome, check_status_context, post_mark, status_description, status_state
from gate.github.untrusted import read_untrusted
from gate.report.candidates import AnyResult
from gate.report.redact import redact, secrets_of

_FOOTER = (
    "<sub>From the result file that the pull request's own workflow run uploaded. It was validated and rendered "
    "again, but the pull request's author could have changed the run.</sub>"
)


@dataclass(frozen=True)
class CommentRequest:
    """Options of `gate comment`."""

    result: Path
    pr: int | None
    name: str
    repo: str | None
    sha: str | None
    status_context: str | None
    dry_run: bool


@dataclass(frozen=True)
class CommentOutcome:
    """Whether everything was posted, and the text of the comment for a dry run."""

    complete: bool
    preview: str | None = None


def post_fork_comment(request: CommentRequest, environment: Mapping[str, str]) -> CommentOutcome:
    """Validate a result file and post it on its pull request. Messages are printed on standard error.

    Raises
    ------
    SampleError, ConfigError
        The file is refused; an option or the environment is invalid, or the result is not from this pull request.
    """
    marker(request.name)
    if request.status_context is not None:
        check_status_context(request.status_context)
    if request.sha is not None and not re.fullmatch(COMMIT_SHA, request.sha):
        raise ConfigError("--sha: expected the 40 hexadecimal digits of a commit, in lower case.")
    result = redact(read_untrusted(request.result), secrets_of(environment))
    token = environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN")
    if request.dry_run and not token:
        return CommentOutcome(True, comment_body(result, request.name, None, _FOOTER))
    context = read_context(environment, request.repo)
    run = context.event.workflow_run
    link = None if run is None else context.url_of_run(run.id)
    body = comment_body(result, request.name, link, _FOOTER)
    if not token:
        raise ConfigError(
            "There is no GitHub token: GITHUB_TOKEN and GH_TOKEN are not set.",
            "Give the step `env: GITHUB_TOKEN: ${{ github.token }}`.",
        )
    messages = Messages(err=True)
    preview = None
    with (
        messages.refusal_as_warning("No pull-request comment", context, "pull-requests: read"),
        Client(context.api_url, token, waiting=messages.waiting) as client,
    ):
        lookup = _find_checked_pull(request, context, client)
        if lookup.pull is None:
            messages.note(f"No pull-request comment: {lookup.reason}.")
            preview = body if request.dry_run else None
        elif request.dry_run:
            messages.note(f"The comment {request.name} of pull request {lookup.pull.number} would be:")
            preview = body
        else:
            if request.status_context is not None:
                _set_status(request.status_context, context, client, lookup.pull, result, link, messages)
            _post_comment(request.name, context, client, lookup.pull, body, messages)
    return CommentOutcome(not messages.refused, preview)


def _find_checked_pull(request: CommentRequest, context: Context, client: Client) -> PullLookup:
    """Return the pull request that `--pr` names, else the one of the commit, after a check of its head."""
    if request.pr is None:
        lookup = find_pull(context, client, request.sha)
    else:
        lookup = PullLookup(get_pull(context.repository, request.pr, client))
    pull = lookup.pull
    if pull is not None:
        check_pull(pull, context.repository, context.event.workflow_run, request.sha)
        if request.pr is not None and pull.state != "open":
            return PullLookup(None, f"pull request {pull.number} is {pull.state}")
    return lookup


def _set_status(
    name: str,
    context: Context,
    client: Client,
    pull: PullRequest,
    result: AnyResult,
    link: str | None,
    messages: Messages,
) -> None:
    """Set the commit status, except for a fork."""
    if _is_from_fork(pull, context):
        messages.warn(
            f"The commit status {name} is not set: the pull request comes from a fork, whose author could have "
            "forged the result file, and branch protection would accept a forged success."
        )
        return
    state, text = _checked_state(result, context)
    with messages.refusal_as_warning(f"The commit status {name} was not set", context, "statuses: write"):
        post_mark(client, context.repository, pull.head.sha, Mark("status", name, url=link), state, text)


def _post_comment(
    name: str, context: Context, client: Client, pull: PullRequest, body: str, messages: Messages
) -> None:
    with messages.refusal_as_warning("No pull-request comment", context, "pull-requests: write"):
        url = post_comment(client, context.repository, pull.number, name, body, messages.warn)
        messages.note(f"Comment: {url}")


def _is_from_fork(pull: PullRequest, context: Context) -> bool:
    """Return whether the head is in another repository. A deleted fork counts as one."""
    repositories = [pull.head.repo]
    if context.event.workflow_run is not None:
        repositories.append(context.event.workflow_run.head_repository)
    return not all(repo is not None and repo.is_named(context.repository) for repo in repositories)


def _checked_state(result: AnyResult, context: Context) -> tuple[Outcome, str]:
    """Return state and text of the status: an error where the result contradicts the run's conclusion on GitHub."""
    run = context.event.workflow_run
    state = status_state(result)
    if run is not None and (run.conclusion == "success") != (state == "success"):
        conclusion = run.conclusion or "no conclusion"
        return "error", f"The result says {result.verdict}, but the run ended with {conclusion}."
    return state, status_description(result)
