"""The pull-request comment: one per gate name, updated in place."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gate.errors import ConfigError
from gate.github.client import Client, GitHubError
from gate.github.context import Payload
from gate.github.template import render_template
from gate.report.candidates import AnyResult
from gate.report.candidates_markdown import markdown_of
from gate.report.escape import log_line

if TYPE_CHECKING:
    from jinja2 import Template

COMMENT_LIMIT = 65_536
"""GitHub's limit for a comment. It is applied to UTF-8 bytes here: a text never has more characters than bytes."""
_REPORT_IN_TEMPLATE = 50_000  # bytes; the rest is for the template's own text
ACTIONS_BOT = "github-actions[bot]"
_NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")


class User(Payload):
    """The author of a comment."""

    login: str


class Comment(Payload):
    """A comment on a pull request."""

    id: int
    html_url: str
    body: str | None = None
    user: User | None = None


class _Viewer(Payload):
    viewer: User


class _ViewerResponse(Payload):
    data: _Viewer


def marker(name: str) -> str:
    """Return the hidden first line of the comment of the gate `name`; an invalid name is a ConfigError."""
    if len(name) > 64 or not _NAME.fullmatch(name):
        raise ConfigError(
            f"The gate's name is {log_line(name)!r}; expected up to 64 letters and digits, separated by single . _ -",
            "For example: nightly, llama-3.1-8b-awq.",
        )
    return f"<!-- quantgate:{name} -->"


def comment_body(
    result: AnyResult,
    name: str,
    report_url: str | None = None,
    footer: str = "",
    change: str = "",
    template: Template | None = None,
) -> str:
    """Return the text of a comment: marker, report and footer, at most `COMMENT_LIMIT` bytes.

    Parameters
    ----------
    change : str
        Markdown paragraph below the title.
    template : Template, optional
        The user's own text instead of the report, see `gate.github.template`; a TemplateFailedError if it fails.
    """
    head, tail = marker(name) + "\n", f"\n{footer}\n" if footer else ""
    limit = COMMENT_LIMIT - len((head + tail).encode())
    if template is None:
        return head + _report(result, name, report_url, change, limit) + tail
    report = _report(result, name, report_url, change, _REPORT_IN_TEMPLATE)
    texts = {"report": report, "change": change, "name": name, "run_url": report_url}
    return head + render_template(template, result, limit, **texts) + tail


def _report(result: AnyResult, name: str, report_url: str | None, change: str, limit: int) -> str:
    inserted = f"\n{change}\n" if change else ""
    text = markdown_of(result, limit=limit - len(inserted.encode()), full_report=report_url, name=name)
    title, rest = text.split("\n", 1)
    return f"{title}\n{inserted}{rest}"


def post_comment(
    client: Client,
    repository: str,
    number: int,
    name: str,
    body: str,
    warn: Callable[[str], None],
    *,
    create: bool = True,
) -> str | None:
    """Create a gate's comment, or update the newest existing one and delete older duplicates; return its address.

    Parameters
    ----------
    repository : str
        owner/name.
    number : int
        Number of the pull request.
    name : str
        Name of the gate.
    body : str
        Text that begins with the gate's marker.
    warn : callable
        Receives a warning if an older duplicate cannot be deleted.
    create : bool
        Whether to create a comment where there is none; otherwise None is returned.
    """
    own = _own_comments(client, repository, number, name)
    if own:
        try:
            url = client.patch(_path(repository, own[0]), {"body": body}, Comment).html_url
        except GitHubError as error:
            if error.status != 404:  # 404: deleted in the meantime, so a new one is created
                raise
        else:
            _delete(client, repository, own[1:], warn)
            return url
    if not create:
        return None
    return _create(client, repository, number, name, body, {comment.id for comment in own})


def _create(client: Client, repository: str, number: int, name: str, body: str, known: set[int]) -> str:
    """Create the comment. Where GitHub's response is lost, check whether it exists before trying again."""
    first = True
    for attempt in client.attempts(lambda error: error.ambiguous):
        with attempt:
            if not first:
                own = _own_comments(client, repository, number, name)
                created = [comment for comment in own if comment.id not in known]
                if created:
                    return created[0].html_url
            first = False
            path = f"repos/{repository}/issues/{number}/comments"
            return client.post(path, {"body": body}, Comment, repeatable=False).html_url
    raise AssertionError("unreachable")


def _own_comments(client: Client, repository: str, number: int, name: str) -> list[Comment]:
    """Return this gate's own comments, newest first. Other users may quote the marker, even at the start."""
    prefix = marker(name)
    comments = client.pages(f"repos/{repository}/issues/{number}/comments", Comment)
    marked = [comment for comment in comments if (comment.body or "").startswith(prefix)]
    if not any(comment.user for comment in marked):
        return []
    login = author(client).lower()
    own = [comment for comment in marked if comment.user and comment.user.login.lower() == login]
    return sorted(own, key=lambda comment: comment.id, reverse=True)


def author(client: Client) -> str:
    """Return the login under which the token writes.

    A workflow's own token may not read `GET /user`; GraphQL answers for every kind of token.
    """
    try:
        return client.graphql("query { viewer { login } }", _ViewerResponse).data.viewer.login
    except GitHubError:
        pass
    try:
        return client.get("user", User).login
    except GitHubError as error:
        if error.status not in (401, 403, 404):
            raise
        return ACTIONS_BOT


def _delete(client: Client, repository: str, comments: Sequence[Comment], warn: Callable[[str], None]) -> None:
    try:
        for comment in comments:
            client.delete(_path(repository, comment))
    except GitHubError as error:
        warn(f"An older comment of this gate could not be removed: {error.message}")


def _path(repository: str, comment: Comment) -> str:
    return f"repos/{repository}/issues/comments/{comment.id}"
