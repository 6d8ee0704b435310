"""A client of GitHub's (and GitLab's) REST API: retries, rate limits, pagination. The token stays on its host."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Self, TypeVar

import httpx
import stamina
from pydantic import JsonValue, TypeAdapter, ValidationError

from gate.common.http import (
    MAX_REPLY,
    Budget,
    RetryPolicy,
    Secret,
    TooLargeError,
    backoff,
    explanation,
    is_transient,
    read,
    retry_after,
)
from gate.errors import ExitCode, GateError
from gate.report.escape import log_line

API_VERSION = "2022-11-28"
ATTEMPTS = 6
"""Attempts for one call, including the first."""
PAGES = 100
"""Most pages of one list: 10,000 entries."""
_REDIRECTS = 3
_NETWORK = "Check the runner's network and the server's status (https://www.githubstatus.com), then rerun the job."
_SECONDARY_WAIT = 60.0  # GitHub: without a header, wait at least a minute, then exponentially longer

T = TypeVar("T")
Query = Mapping[str, str | int]


class GitHubError(GateError):
    """GitHub refused a request or could not be reached.

    Attributes
    ----------
    status : int or None
        HTTP status of the response; None without a response.
    ambiguous : bool
        Whether GitHub may have carried out the request, although no usable response arrived.
    wait : float or None
        Seconds to wait before the next attempt (doubled each time if `grows`); None where retrying is useless.
    """

    exit_code = ExitCode.EVALUATION

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        status: int | None = None,
        ambiguous: bool = False,
        wait: float | None = None,
        grows: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.ambiguous = ambiguous
        self.wait = wait
        self.grows = grows


class Client:
    """Requests to one GitHub server with one token.

    Parameters
    ----------
    api_url : str
        `GITHUB_API_URL`: https://api.github.com, or https://HOST/api/v3 of an Enterprise Server.
    budget : float
        Longest total wait between attempts over the client's lifetime, in seconds.
    timeout : float
        Longest wait for one response, in seconds.
    clock : callable
        Returns seconds since 1970, in which GitHub gives the end of a rate limit.
    waiting : callable, optional
        Called with the seconds and the reason before each wait.

    Raises
    ------
    GitHubError
        The address or the token is unusable. The message does not show the token.
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
        self.api_url = _parse_url(api_url)
        self._token = _parse_token(token)
        self._budget = Budget(budget)
        self._clock = clock
        self._waiting = waiting
        self._http = httpx.Client(
            headers={
                **self._token.headers(),
                "Accept": "application/vnd.github+json, application/json",
                "X-GitHub-Api-Version": API_VERSION,
            },
            timeout=timeout,
            follow_redirects=False,  # httpx would turn a redirected POST into a GET
        )

    def __repr__(self) -> str:
        return f"Client({str(self.api_url)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, shape: type[T], query: Query | None = None) -> T:
        """Return one object, e.g. `repos/o/r/pulls/1`, validated as `shape`."""
        return _parse(self._send("GET", self._url(path), query=query), shape)

    def pages(self, path: str, shape: type[T], query: Query | None = None) -> Iterator[T]:
        """Yield the entries of a list from all its pages."""
        url, parameters = self._url(path), {**(query or {}), "per_page": 100}
        for _ in range(PAGES):
            response = self._send("GET", url, query=parameters)
            yield from _parse(response, list[shape])  # type: ignore[valid-type]
            following = response.links.get("next", {}).get("url")
            if following is None:
                return
            url, parameters = self._same_host(response.url.join(following)), {}

    def post(self, path: str, body: Mapping[str, JsonValue], shape: type[T], *, repeatable: bool) -> T:
        """Create an object. Unless it is `repeatable`, an ambiguous failure is raised without another attempt."""
        response = self._send("POST", self._url(path), body=body, repeatable=repeatable)
        return _parse(response, shape)

    def patch(self, path: str, body: Mapping[str, JsonValue], shape: type[T], method: str = "PATCH") -> T:
        """Change an object; GitLab's method is PUT."""
        return _parse(self._send(method, self._url(path), body=body), shape)

    def delete(self, path: str) -> None:
        """Delete an object; one that no longer exists is not an error."""
        try:
            self._send("DELETE", self._url(path))
        except GitHubError as error:
            if error.status != 404:
                raise

    def graphql(self, query: str, shape: type[T]) -> T:
        """Answer a read-only GraphQL query."""
        root = str(self.api_url).rstrip("/").removesuffix("/v3")
        response = self._send("POST", httpx.URL(f"{root}/graphql"), body={"query": query})
        return _parse(response, shape)

    def attempts(self, on: Callable[[GitHubError], bool]) -> Iterator[stamina.Attempt]:
        """Yield attempts, like `stamina.retry_context`, while `on` accepts the error and the client may still wait."""

        def wait(error: Exception, retries: int) -> float | None:
            if not isinstance(error, GitHubError) or error.wait is None or not on(error):
                return None
            return error.wait * (2**retries if error.grows else 1)

        def report(seconds: float, error: Exception) -> None:
            if self._waiting is not None and isinstance(error, GitHubError):
                self._waiting(seconds, error.message)

        policy = RetryPolicy(ATTEMPTS, self._budget, wait, report)
        yield from stamina.retry_context(on=policy, attempts=ATTEMPTS, timeout=None)

    def _url(self, path: str) -> httpx.URL:
        return httpx.URL(f"{str(self.api_url).rstrip('/')}/{path}")

    def _same_host(self, url: httpx.URL) -> httpx.URL:
        if (url.scheme, url.host, url.port) != (self.api_url.scheme, self.api_url.host, self.api_url.port):
            raise GitHubError(
                f"GitHub's response links to {_origin(url)}, not {_origin(self.api_url)}; the token is not sent there.",
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
                return self._send_once(method, url, query, body)
        raise AssertionError("unreachable")

    def _send_once(
        self, method: str, url: httpx.URL, query: Query | None, body: Mapping[str, JsonValue] | None
    ) -> httpx.Response:
        name = f"{method} {log_line(url.path)}"
        for _ in range(_REDIRECTS + 1):
            try:
                with self._http.stream(method, url, params=query or None, json=body) as streamed:
                    response = read(streamed)
            except TooLargeError:
                raise GitHubError(f"{name}: the response is larger than {MAX_REPLY >> 20} MiB.", _NETWORK) from None
            except httpx.HTTPError as error:
                if not is_transient(error):
                    raise GitHubError(f"{name}: {type(error).__name__}.", _NETWORK) from None
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                text = f"{name}: no response ({type(error).__name__})"
                raise GitHubError(text, _NETWORK, ambiguous=not unsent, wait=backoff(0), grows=True) from None
            if response.status_code not in (301, 302, 307, 308):
                break
            # a renamed repository: GitHub asks for the same request at the new address
            try:
                url, query = self._same_host(response.url.join(response.headers["location"])), None
            except (KeyError, httpx.InvalidURL):
                break
        if response.is_success:
            return response
        raise self._refusal(name, response)

    def _refusal(self, name: str, response: httpx.Response) -> GitHubError:
        cause = log_line(explanation(response, self._token))
        status = response.status_code
        text = f"{name}: HTTP {status}{f': {cause}' if cause else ''}"
        if status >= 500:
            return GitHubError(text, _NETWORK, status=status, ambiguous=True, wait=backoff(0), grows=True)
        if status not in (403, 429):
            return GitHubError(text, status=status)
        wait = retry_after(response.headers.get("retry-after"))
        if wait is None and response.headers.get("x-ratelimit-remaining") == "0":
            wait = self._until(response.headers.get("x-ratelimit-reset"))
        if wait is not None:
            return GitHubError(text, status=status, wait=wait)
        limited = status == 429 or "rate limit" in cause.lower()
        return GitHubError(text, status=status, wait=_SECONDARY_WAIT if limited else None, grows=True)

    def _until(self, reset: str | None) -> float | None:
        """Return the seconds until the end of a rate limit, given in seconds since 1970."""
        try:
            return max(0.0, float(reset or "") - self._clock()) + 1.0
        except ValueError:
            return None


def _origin(url: httpx.URL) -> str:
    return log_line(f"{url.scheme}://{url.netloc.decode()}")


def _parse_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("https", "http") or not url.host or url.userinfo or url.query or url.fragment:
        raise GitHubError(
            "GITHUB_API_URL is not the address of an API: expected https://api.github.com or https://HOST/api/v3."
        )
    return url


def _parse_token(text: str) -> Secret:
    try:
        token = Secret(text)
    except ValueError:
        token = Secret("")
    if not token:
        raise GitHubError(
            "The GitHub token is empty, or has characters that no token has (spaces, line breaks).",
            "Pass ${{ github.token }} or a secret that holds only the token.",
        )
    return token


def _parse(response: httpx.Response, shape: type[T]) -> T:
    try:
        return TypeAdapter(shape).validate_json(response.content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        location = ".".join(str(part) for part in first["loc"]) or "the response"
        raise GitHubError(
            f"{response.request.method} {log_line(response.request.url.path)}: unexpected response "
            f"({log_line(location)}: {log_line(first['msg'])}).",
            "Check GITHUB_API_URL and any proxy in between.",
            status=response.status_code,
        ) from None
