"""The second stage of the fork-safe flow: a stranger's result file, our token.

The first stage (`pull_request`) runs the fork's code without secrets and uploads its result. The second one
(`workflow_run`) runs the default branch's code with a token that may write, and must not trust the file: whoever wrote
the pull request could have written any verdict into it. It can only speak on that pull request and on its head commit,
and on a fork's commit never as a commit status: branch protection would believe a forged success.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.errors import ConfigError
from gate.github.annotations import annotation
from gate.github.client import Client, GitHubError
from gate.github.comment import comment_body, marker, post_comment
from gate.github.context import Context, PullRequest, read_context
from gate.github.publish import advice
from gate.github.pulls import Found, check_pull, find_pull, get_pull
from gate.github.status import check_context, describe, post_status, state_of
from gate.github.untrusted import read_untrusted
from gate.report.escape import log_line
from gate.report.redact import redact, secrets_of
from gate.report.result import Result

_FOOTER = (
    "<sub>From the result file that the pull request's own workflow run uploaded. It was checked and rendered again, "
    "but the pull request's author could have changed the run.</sub>"
)


@dataclass(frozen=True)
class Order:
    """The command's options."""

    result: Path
    pull: int | None
    name: str
    repository: str | None
    sha: str | None
    status_context: str | None
    dry_run: bool


@dataclass(frozen=True)
class Done:
    """What came of it. `text`: for standard output."""

    complete: bool
    text: str | None = None


def post_second(order: Order, environment: Mapping[str, str], say: Callable[[str], None]) -> Done:
    """Check a result file and post it on its pull request.

    Raises
    ------
    SampleError
        The file is refused.
    ConfigError
        A wrong option or environment, or a pull request that the result is not from.
    """
    marker(order.name)
    if order.status_context is not None:
        check_context(order.status_context)
    if order.sha is not None and not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", order.sha):
        raise ConfigError("--sha: expected the 40 hexadecimal digits of a commit, in small letters.")
    result = redact(read_untrusted(order.result), secrets_of(environment))
    token = environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN")
    if order.dry_run and not token:
        return Done(True, comment_body(result, order.name, None, _FOOTER))
    context = read_context(environment, order.repository)
    run = context.event.workflow_run
    link = None if run is None else context.url_of_run(run.id)
    body = comment_body(result, order.name, link, _FOOTER)
    if not token:
        raise ConfigError(
            "There is no GitHub token: GITHUB_TOKEN and GH_TOKEN are not set.",
            "Give the step `env: GITHUB_TOKEN: ${{ github.token }}`.",
        )
    try:
        with Client(context.api_url, token, waiting=lambda seconds, why: say(_waits(seconds, why))) as client:
            found = _pull(order, context, client)
            if found.pull is None:
                say(f"No pull-request comment: {log_line(found.why)}.")
                return Done(True, body if order.dry_run else None)
            if order.dry_run:
                say(f"This would be the comment {order.name} of pull request {found.pull.number}.")
                return Done(True, body)
            return _post(order, context, client, found.pull, result, body, link, say)
    except GitHubError as error:
        say(annotation("warning", advice(error, context, "pull-requests: read"), "quantgate"))
        return Done(False)


def _pull(order: Order, context: Context, client: Client) -> Found:
    """Return the pull request, which is in any case one whose head is the result's commit."""
    run = context.event.workflow_run
    if order.pull is not None:
        pull = get_pull(context.repository, order.pull, client)
        check_pull(pull, context.repository, run, order.sha)
        if pull.state != "open":
            return Found(None, f"pull request {pull.number} is {pull.state}")
        return Found(pull)
    found = find_pull(context, client, order.sha)
    if found.pull is not None:
        check_pull(found.pull, context.repository, run, order.sha)
    return found


def _post(
    order: Order,
    context: Context,
    client: Client,
    pull: PullRequest,
    result: Result,
    body: str,
    link: str | None,
    say: Callable[[str], None],
) -> Done:
    complete = True
    if order.status_context is not None and _of_fork(pull, context):
        text = (
            f"The commit status {order.status_context} is not set: the pull request comes from a fork, whose author "
            "could have forged the result file, and branch protection would believe a success."
        )
        say(annotation("warning", text, "quantgate"))
    elif order.status_context is not None:
        state, text = _state(result, context)
        try:
            name = order.status_context
            post_status(client, context.repository, pull.head.sha, name, state, text, link)
        except GitHubError as error:
            complete = False
            why = advice(error, context, "statuses: write")
            say(annotation("warning", f"The commit status was not set: {why}", "quantgate"))
    try:
        posted = post_comment(client, context.repository, pull.number, order.name, body)
    except GitHubError as error:
        why = advice(error, context, "pull-requests: write")
        say(annotation("warning", f"No pull-request comment: {why}", "quantgate"))
        return Done(False)
    for text in posted.warnings:
        say(annotation("warning", text, "quantgate"))
    say(f"Comment: {log_line(posted.url)}")
    return Done(complete)


def _of_fork(pull: PullRequest, context: Context) -> bool:
    """Tell whether the head is in another repository than ours; a fork that was deleted is one, too."""
    run = context.event.workflow_run
    homes = [pull.head.repo, *([] if run is None else [run.head_repository])]
    return any(home is None or home.full_name.lower() != context.repository.lower() for home in homes)


def _state(result: Result, context: Context) -> tuple[str, str]:
    """Return the status; a file that says success of a run that GitHub saw fail is not believed."""
    run = context.event.workflow_run
    state = state_of(result)
    if run is not None and (run.conclusion == "success") != (state == "success"):
        return (
            "error",
            f"The result says {result.verdict}, but the run ended with {run.conclusion or 'nothing'}."[:140],
        )
    return state, describe(result)


def _waits(seconds: float, why: str) -> str:
    return f"waiting {seconds:.0f} s before asking GitHub again: {log_line(why)}"
