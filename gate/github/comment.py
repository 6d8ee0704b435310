"""The pull request's comment: one for each gate name, always updated, never doubled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from gate.errors import ConfigError
from gate.github.client import Client, GitHubError
from gate.report.escape import log_line
from gate.report.markdown import render_markdown
from gate.report.result import Result

COMMENT_LIMIT = 65_536
"""GitHub's limit of a comment, here in UTF-8 bytes: however GitHub counts characters, there are no more of them."""
ACTIONS_BOT = "github-actions[bot]"
_NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")


class User(BaseModel):
    """Who wrote a comment."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    login: str


class Comment(BaseModel):
    """A comment of a pull request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    html_url: str
    body: str | None = None
    user: User | None = None


class _Viewer(BaseModel):
    viewer: User


class _Answer(BaseModel):
    data: _Viewer


@dataclass(frozen=True)
class Posted:
    """The comment that is there now, and what went wrong beside it."""

    url: str
    warnings: tuple[str, ...] = ()


def marker(name: str) -> str:
    """Return the hidden first line by which the comment of the gate `name` is found again.

    Raises
    ------
    ConfigError
        The name could end the hidden line early, or is longer than 64 characters.
    """
    if len(name) > 64 or not _NAME.fullmatch(name):
        raise ConfigError(
            f"The gate's name is {log_line(name)!r}; expected up to 64 letters and digits, with single . _ - between.",
            "For example: nightly, llama-3.1-8b-awq.",
        )
    return f"<!-- quantgate:{name} -->"


def comment_body(result: Result, name: str, report_url: str | None = None, footer: str = "") -> str:
    """Return the whole text of a comment: marker, report, footer; at most `COMMENT_LIMIT` bytes."""
    first, last = marker(name) + "\n", f"\n{footer}\n" if footer else ""
    room = COMMENT_LIMIT - len((first + last).encode())
    return first + render_markdown(result, limit=room, full_report=report_url, name=name) + last


def post_comment(client: Client, repository: str, number: int, name: str, body: str) -> Posted:
    """Write a gate's comment: update the newest one of our own and remove older ones, else create it.

    Parameters
    ----------
    client : Client
    repository : str
        owner/name.
    number : int
        Of the pull request.
    name, body : str
        Of the gate, and the text that begins with its marker.

    Raises
    ------
    GitHubError
        GitHub does not allow it, or cannot be reached.
    """
    ours = _ours(client, repository, number, name)
    for newest in ours[:1]:
        try:
            url = client.patch(_place(repository, newest), {"body": body}, Comment).html_url
        except GitHubError as error:
            if error.status != 404:  # somebody removed it just now
                raise
            continue
        return Posted(url, _remove(client, repository, ours[1:]))
    return Posted(_create(client, repository, number, name, body, {one.id for one in ours}))


def _create(client: Client, repository: str, number: int, name: str, body: str, known: set[int]) -> str:
    """Create the comment; where GitHub's answer is lost, look whether it is there before trying again."""
    first = True
    for attempt in client.attempts(lambda error: error.ambiguous):
        with attempt:
            if not first:
                arrived = [one for one in _ours(client, repository, number, name) if one.id not in known]
                if arrived:
                    return arrived[0].html_url
            first = False
            path = f"repos/{repository}/issues/{number}/comments"
            return client.post(path, {"body": body}, Comment, repeatable=False).html_url
    raise AssertionError("unreachable")


def _ours(client: Client, repository: str, number: int, name: str) -> list[Comment]:
    """Return this gate's own comments, newest first. Others may quote the marker, even at the start."""
    first = marker(name)
    pages = client.pages(f"repos/{repository}/issues/{number}/comments", Comment)
    marked = [one for one in pages if one.user is not None and (one.body or "").startswith(first)]
    if not marked:
        return []
    login = author(client).lower()
    ours = [one for one in marked if one.user is not None and one.user.login.lower() == login]
    return sorted(ours, key=lambda one: one.id, reverse=True)


def author(client: Client) -> str:
    """Return the login that the token writes with.

    A workflow's own token may not read `GET /user`, but GraphQL answers for every kind of token.
    """
    try:
        return client.graphql("query { viewer { login } }", _Answer).data.viewer.login
    except GitHubError:
        pass
    try:
        return client.get("user", User).login
    except GitHubError as error:
        if error.status not in (401, 403, 404):
            raise
        return ACTIONS_BOT


def _remove(client: Client, repository: str, comments: Sequence[Comment]) -> tuple[str, ...]:
    for one in comments:
        try:
            client.delete(_place(repository, one))
        except GitHubError as error:
            return (f"An older comment of this gate could not be removed: {error.message}",)
    return ()


def _place(repository: str, comment: Comment) -> str:
    return f"repos/{repository}/issues/comments/{comment.id}"
