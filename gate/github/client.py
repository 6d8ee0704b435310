"""A small client of GitHub's REST API: retries, rate limits, pages; the token never leaves GitHub's host."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self, TypeVar

import httpx
import stamina
from pydantic import JsonValue, TypeAdapter, ValidationError

from gate import __version__
from gate.github.errors import GitHubError
from gate.report.escape import log_line

API_VERSION = "2022-11-28"
ATTEMPTS = 6
"""Requests in all for one call, the first one included."""
PAGES = 100
"""Most pages of one list: 10,000 entries."""
_REDIRECTS = 3
# `waiting` tells of each retry, in words
logging.getLogger("stamina").setLevel(logging.ERROR)
_BACKOFF = 1.0
_SECONDARY = 60.0  # GitHub: without a header, wait for at least a minute, then exponentially longer

T = TypeVar("T")
Query = Mapping[str, str | int]

__all__ = ["Client", "GitHubError"]


class Client:
    """Requests to one GitHub server with one token.

    Parameters
    ----------
    api_url : str
        `GITHUB_API_URL`: https://api.github.com, or https://HOST/api/v3 of an Enterprise Server.
    token : str
    budget : float
        Most seconds to wait between retries, over the client's life.
    timeout : float
        Seconds for one answer.
    clock : callable
        Seconds since 1970; GitHub tells a rate limit's end in them.
    waiting : callable, optional
        Called with the seconds before each wait and with the reason.

    Raises
    ------
    GitHubError
        The address or the token cannot be used; the token is never shown.
    """

    def __init__(
        self,
        api_url: str,
        token: str,
        *,
        budget: float = 300.0,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.time,
        waiting: Callable[[float, str], None] | None = None,
    ) -> None:
        self.api_url = _checked_url(api_url)
        self._token = token.strip()
        if (
            not self._token
            or not self._token.isascii()
            or not self._token.isprintable()
            or " " in self._token
        ):
            raise GitHubError(
                "The GitHub token is empty or holds characters that no token has (spaces, line breaks).",
                "Pass ${{ github.token }} or a secret that holds the token alone.",
            )
        self._budget = budget
        self._clock = clock
        self._waiting = waiting
        self._http = httpx.Client(
            headers={
                "accept": "application/vnd.github+json, application/json",
                "authorization": f"Bearer {self._token}",
                "user-agent": f"quantgate/{__version__}",
                "x-github-api-version": API_VERSION,
            },
            timeout=timeout,
            follow_redirects=False,  # httpx would turn a moved POST into a GET
        )

    def __repr__(self) -> str:
        return f"Client({str(self.api_url)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, shape: type[T], query: Query | None = None) -> T:
        """Return one object, e.g. of `repos/o/r/pulls/1`."""
        return _parse(self._send("GET", self._url(path), query=query), shape)

    def pages(self, path: str, shape: type[T], query: Query | None = None) -> Iterator[T]:
        """Yield the entries of a list, page after page."""
        url, asked = self._url(path), {**(query or {}), "per_page": 100}
        for _ in range(PAGES):
            answer = self._send("GET", url, query=asked)
            yield from _parse(answer, list[shape])  # type: ignore[valid-type]
            following = answer.links.get("next", {}).get("url")
            if following is None:
                return
            url, asked = self._same_host(answer.url.join(following)), {}

    def post(self, path: str, body: Mapping[str, JsonValue], shape: type[T], *, repeatable: bool) -> T:
        """Create something. Where it is not `repeatable`, an ambiguous failure is raised and not tried again."""
        answer = self._send("POST", self._url(path), body=body, repeatable=repeatable)
        return _parse(answer, shape)

    def patch(self, path: str, body: Mapping[str, JsonValue], shape: type[T]) -> T:
        """Change something."""
        return _parse(self._send("PATCH", self._url(path), body=body), shape)

    def delete(self, path: str) -> None:
        """Delete something; gone already is as good."""
        try:
            self._send("DELETE", self._url(path))
        except GitHubError as error:
            if error.status != 404:
                raise

    def graphql(self, query: str, shape: type[T]) -> T:
        """Answer a read-only GraphQL query."""
        root = str(self.api_url).rstrip("/").removesuffix("/v3")
        answer = self._send("POST", httpx.URL(f"{root}/graphql"), body={"query": query})
        return _parse(answer, shape)

    def attempts(self, on: Callable[[GitHubError], bool]) -> Iterator[stamina.Attempt]:
        """Yield attempts, as `stamina.retry_context`: an error that `on` accepts is waited out and tried again.

        The waits of one client never come to more than its budget: then the error is raised.
        """
        tries = 0

        def wait(error: Exception) -> bool | float:
            nonlocal tries
            if not isinstance(error, GitHubError) or error.wait is None or not on(error):
                return False
            if tries == ATTEMPTS - 1:  # asked after the last attempt too
                return False
            seconds = error.wait * (2**tries if error.grows else 1)
            if seconds > self._budget:
                return False
            tries += 1
            self._budget -= seconds
            if self._waiting is not None:
                self._waiting(seconds, error.message)
            return seconds

        yield from stamina.retry_context(on=wait, attempts=ATTEMPTS, timeout=None)

    def _url(self, path: str) -> httpx.URL:
        return httpx.URL(f"{str(self.api_url).rstrip('/')}/{path}")

    def _same_host(self, url: httpx.URL) -> httpx.URL:
        ours, theirs = ((one.scheme, one.host, one.port) for one in (self.api_url, url))
        if ours != theirs:
            raise GitHubError(
                f"GitHub points to another host ({log_line(url.host)}); the token is not sent there.",
                "Check GITHUB_API_URL and any proxy in between.",
            )
        return url

    def _send(
        self,
        method: str,
        url: httpx.URL,
        *,
        query: Query | None = None,
        body: Mapping[str, JsonValue] | None = None,
        repeatable: bool = True,
    ) -> httpx.Response:
        for attempt in self.attempts(lambda error: repeatable or not error.ambiguous):
            with attempt:
                return self._once(method, url, query, body)
        raise AssertionError("unreachable")

    def _once(
        self, method: str, url: httpx.URL, query: Query | None, body: Mapping[str, JsonValue] | None
    ) -> httpx.Response:
        what = f"{method} {log_line(url.path)}"
        for _ in range(_REDIRECTS + 1):
            try:
                answer = self._http.request(method, url, params=query or None, json=body)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise _unreachable(what, error, ambiguous=False) from None
            except httpx.TransportError as error:
                raise _unreachable(what, error, ambiguous=True) from None
            except httpx.HTTPError as error:
                raise GitHubError(f"{what}: {type(error).__name__}.") from None
            if answer.status_code not in (301, 302, 307, 308):
                break
            # GitHub: repeat the request as it was at the new place (a renamed repository)
            try:
                url, query = self._same_host(answer.url.join(answer.headers["location"])), None
            except (KeyError, httpx.InvalidURL):
                break
        if answer.is_success:
            return answer
        raise self._refusal(what, answer)

    def _refusal(self, what: str, answer: httpx.Response) -> GitHubError:
        said = log_line(_message(answer).replace(self._token, "***"))
        status = answer.status_code
        text = f"{what}: HTTP {status}{f': {said}' if said else ''}"
        if status >= 500:
            return _later(text, status, ambiguous=True)
        limited = status == 429 or (status == 403 and "rate limit" in said.lower())
        if status in (403, 429):
            asked = _seconds(answer.headers.get("retry-after"))
            end = _seconds(answer.headers.get("x-ratelimit-reset"))
            if asked is not None:
                return GitHubError(text, status=status, wait=asked)
            if answer.headers.get("x-ratelimit-remaining") == "0" and end is not None:
                return GitHubError(text, status=status, wait=max(0.0, end - self._clock()) + 1.0)
        return GitHubError(text, status=status, wait=_SECONDARY if limited else None, grows=True)


def _later(text: str, status: int | None, ambiguous: bool) -> GitHubError:
    wait = _BACKOFF + random.uniform(0, _BACKOFF / 2)  # noqa: S311 - parts clients that failed together
    return GitHubError(text, status=status, ambiguous=ambiguous, wait=wait, grows=True)


def _unreachable(what: str, error: httpx.TransportError, ambiguous: bool) -> GitHubError:
    return _later(f"{what}: no answer ({type(error).__name__})", None, ambiguous)


def _checked_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("https", "http") or not url.host or url.userinfo or url.query or url.fragment:
        raise GitHubError(
            "GITHUB_API_URL is not the address of an API: expected https://api.github.com or https://HOST/api/v3."
        )
    return url


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 12 else None


def _message(answer: httpx.Response) -> str:
    """Return what GitHub says about a refusal, `message` of its JSON."""
    try:
        data = answer.json()
    except ValueError:
        return ""
    return str(data["message"]) if isinstance(data, dict) and "message" in data else ""


def _parse(answer: httpx.Response, shape: type[T]) -> T:
    try:
        return TypeAdapter(shape).validate_json(answer.content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise GitHubError(
            f"{answer.request.method} {log_line(answer.request.url.path)}: not the answer expected "
            f"({log_line(where)}: {log_line(first['msg'])}).",
            "Check GITHUB_API_URL and any proxy in between.",
            status=answer.status_code,
        ) from None
