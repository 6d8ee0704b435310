"""HTTP client of one model server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from typing import Any, Self

import httpx
import pydantic_core
import stamina

from gate.common.http import (
    MAX_REPLY,
    Budget,
    RetryPolicy,
    Secret,
    TooLargeError,
    backoff,
    explanation,
    is_transient,
    read_async,
    retry_after,
)
from gate.common.jsonlines import clean_text
from gate.config import EngineSettings
from gate.errors import ConfigError, EvaluationError

ATTEMPTS = 10
"""Attempts for one request, including the first."""

_LOG = logging.getLogger(__name__)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LATE_ATTEMPTS = 3  # repetition makes an overloaded server slower
_LAST_START = 900.0  # seconds after which no further attempt starts
_MAX_WAIT = 600.0  # seconds of waiting between the attempts for one request
_END = 60  # bytes of a broken reply that a message shows
_CHECK_ADDRESS = "Check base_url: it should be the part before /completions, e.g. http://localhost:8000/v1."
_CHECK_COMPLETENESS = "The reply may be cut off: look for the cause in the logs of the server and of proxies before it."


class RefusedError(EvaluationError):
    """The server rejected the request (a 4xx status or a redirect)."""

    def __init__(self, status: int, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.status = status


class _BusyError(Exception):
    """The server is temporarily unable to answer."""

    def __init__(self, status: int, wait: float | None, cause: str) -> None:
        super().__init__(status)
        self.status, self.wait, self.cause = status, wait, cause


class Client:
    """Requests to one server. Use it with `async with`.

    Attributes
    ----------
    address : str
        The server's address for messages, without user, password and query.

    Raises
    ------
    ConfigError
        The address or the key is unusable.
    """

    def __init__(self, settings: EngineSettings) -> None:
        try:
            url = httpx.URL(settings.base_url or "")
        except httpx.InvalidURL as error:
            # without user, password and query
            address = re.sub(r"//.*@", "//", settings.base_url or "").partition("?")[0]
            raise ConfigError(
                f"engine.base_url is not a valid address: {error}; expected e.g. http://localhost:8000/v1, found "
                f"{address!r}."
            ) from None
        path = url.path.rstrip("/") or "/v1"
        self._base = url.copy_with(path=path, query=None, fragment=None)
        # a server's own routes are one level above OpenAI's
        self._root = self._base.copy_with(path=path.removesuffix("/v1") or "/")
        self._settings = settings
        variable = settings.api_key_env
        try:
            self._key = Secret(os.environ.get(variable, "") if variable else "")
        except ValueError:
            raise ConfigError(
                f"the key in {variable} has characters that no HTTP header can carry.",
                "Set the variable again, without quotes, spaces or line breaks inside.",
            ) from None
        self._http = httpx.AsyncClient(
            # asyncio bounds the whole request
            timeout=httpx.Timeout(None, connect=min(settings.timeout, 30.0)),
            limits=httpx.Limits(max_connections=settings.concurrency + 1, keepalive_expiry=60.0),
            headers=self._key.headers(),
            verify=url.scheme == "https",  # loading certificates that are not needed takes 30 ms per client
            follow_redirects=False,  # another host must not receive the key
            trust_env=url.host not in _LOOPBACK,  # a proxy of the network cannot reach this machine's own servers
        )
        self._has_warned = False
        self.address = str(self._base.copy_with(userinfo=b""))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def request(self, route: str, body: dict[str, Any] | None = None, attempts: int = ATTEMPTS) -> Any:
        """Return the JSON reply of a route, after a POST if there is a body, else a GET.

        `v1/...` is below `base_url`, other routes are beside it.

        Raises
        ------
        RefusedError
            The server rejects the request.
        EvaluationError
            There is no reply in time, or it is not JSON.
        """
        reply = await self._send(route, body, attempts)
        content = reply.content
        try:
            if _SURROGATE.search(content):
                return _cleaned(json.loads(content))
            return pydantic_core.from_json(content, allow_inf_nan=True)
        except (ValueError, RecursionError):  # RecursionError: nested too deeply
            found, hint = repr(self._explanation(reply)), _CHECK_ADDRESS
            if content.lstrip()[:1] in (b"{", b"["):
                end = self._key.hide(content[-_END:].decode(errors="replace"))
                found, hint = f"its {len(content):,} bytes end with {end!r}", _CHECK_COMPLETENESS
            raise EvaluationError(
                f"the server {self.address} answers /{route}, but not with JSON: {found}", hint
            ) from None

    async def text(self, route: str) -> str:
        """Return the text of a route that only some servers have, after one attempt; errors are as for `request`."""
        return (await self._send(route, None, 1)).text

    async def _send(self, route: str, body: dict[str, Any] | None, attempts: int) -> httpx.Response:
        start = self._base if route.startswith("v1/") else self._root
        url = start.copy_with(path=f"{start.path.rstrip('/')}/{route.removeprefix('v1/')}")
        timeout = self._settings.timeout
        policy = RetryPolicy(attempts, Budget(_MAX_WAIT), _Waits(), self._warn)
        number = 0
        try:
            async for attempt in stamina.retry_context(on=policy, attempts=attempts, timeout=_LAST_START):
                with attempt:
                    number = attempt.num
                    async with asyncio.timeout(timeout):
                        async with self._http.stream("POST" if body else "GET", url, json=body) as streamed:
                            reply = await read_async(streamed)
                    self._check(reply, route)
        except _BusyError as busy:
            wait = f" and asks to wait {busy.wait:.0f} s" if busy.wait is not None else ""
            raise EvaluationError(
                f"the server {self.address} answers /{route} with status {busy.status}{wait} "
                f"(attempts: {number}): {busy.cause}",
                "Lower engine.concurrency, or check the server's log.",
            ) from None
        except TimeoutError:
            raise EvaluationError(
                f"the server {self.address} took more than {timeout:g} s to answer /{route} (attempts: {number}).",
                "Raise engine.timeout, or lower engine.concurrency.",
            ) from None
        except TooLargeError:
            raise EvaluationError(
                f"the server {self.address} answers /{route} with more than {MAX_REPLY >> 20} MiB.",
                "Check base_url, and that nothing between the server and this machine changes its answers.",
            ) from None
        except httpx.HTTPError as error:
            raise EvaluationError(
                f"the server {self.address} is unreachable (/{route}, attempts: {number}): "
                f"{type(error).__name__}: {self._key.hide(str(error))}",
                "Check base_url, and that the server is running.",
            ) from None
        return reply

    def _check(self, reply: httpx.Response, route: str) -> None:
        status = reply.status_code
        if status in _BUSY:
            raise _BusyError(status, retry_after(reply.headers.get("Retry-After")), self._explanation(reply))
        if reply.is_redirect:
            location = self._key.hide(reply.headers.get("Location", "?"))[:200]
            raise RefusedError(
                status,
                f"the server {self.address} redirects /{route} to {location}, but redirects are not followed.",
                "Set base_url to the final address.",
            )
        if not reply.is_success:
            hint = None
            if status in (401, 403):
                state = "was sent" if self._key else "is not set"
                hint = f"The key is read from the variable {self._settings.api_key_env}, which {state}."
            raise RefusedError(
                status,
                f"the server {self.address} rejects /{route} with status {status}: {self._explanation(reply)}",
                hint,
            )

    def _explanation(self, reply: httpx.Response) -> str:
        return explanation(reply, self._key) or "(no explanation)"

    def _warn(self, _: float, error: Exception) -> None:
        """Log the first retry of this client."""
        if not self._has_warned:
            self._has_warned = True
            cause = f"status {error.status}" if isinstance(error, _BusyError) else type(error).__name__
            _LOG.warning("the server %s did not answer a request (%s); retrying", self.address, cause)


def _cleaned(value: Any) -> Any:
    """Return JSON without lone surrogates, which neither a request nor a file can hold."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): _cleaned(entry) for key, entry in value.items()}
    return [_cleaned(entry) for entry in value] if isinstance(value, list) else value


class _Waits:
    """The `wait` of one request's `RetryPolicy`."""

    late = 0  # attempts that took too long

    def __call__(self, error: Exception, retries: int) -> float | None:
        if isinstance(error, _BusyError) and error.wait is not None:
            return error.wait
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            self.late += 1
            is_final = self.late == _LATE_ATTEMPTS
        else:
            is_final = not (isinstance(error, _BusyError) or is_transient(error))
        return None if is_final else backoff(retries, first=0.5)
