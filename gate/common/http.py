"""What the HTTP clients of GitHub and of model servers share: the secret, headers, retries and error messages."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from gate import __version__

logging.getLogger("stamina").setLevel(logging.ERROR)  # the clients report retries themselves

MAX_REPLY = 256 << 20
"""Largest body of a reply after decompression, in bytes."""
_SHOWN = 300  # characters of a server's explanation


class Secret:
    """A key or token, which is sent in a header and never shown. An empty one sends no header.

    Surrounding white space is removed: secrets often end with a line break.

    Raises
    ------
    ValueError
        An Authorization header cannot carry a character. The message does not show the value.
    """

    def __init__(self, value: str) -> None:
        self._value = value.strip()
        if not (self._value.isascii() and self._value.isprintable()) or " " in self._value:
            raise ValueError("not sendable in a header")

    def __bool__(self) -> bool:
        return bool(self._value)

    def headers(self) -> dict[str, str]:
        """Return the Authorization and User-Agent headers."""
        authorization = {"Authorization": f"Bearer {self._value}"} if self._value else {}
        return {"User-Agent": f"quantgate/{__version__}", **authorization}

    def hide(self, text: str) -> str:
        """Return a text with the secret replaced by ***."""
        return text.replace(self._value, "***") if self._value else text


@dataclass
class Budget:
    """Seconds that a client may still wait between attempts."""

    seconds: float


@dataclass
class RetryPolicy:
    """Decides whether a request is sent again, and after how long: the `on` hook of `stamina.retry_context`.

    Attributes
    ----------
    attempts : int
        Attempts in total, including the first.
    wait : callable
        Given an error and the number of retries so far, returns the seconds to wait, or None for a final error.
    on_wait : callable
        Called with the seconds and the error before each wait.
    """

    attempts: int
    budget: Budget
    wait: Callable[[Exception, int], float | None]
    on_wait: Callable[[float, Exception], None]
    _retries: int = 0

    def __call__(self, error: Exception) -> bool | float:
        """Return the seconds to wait before the next attempt, or False to raise the error."""
        if self._retries == self.attempts - 1:  # stamina also asks after the last attempt
            return False
        seconds = self.wait(error, self._retries)
        if seconds is None or seconds > self.budget.seconds:
            return False
        self.budget.seconds -= seconds
        self._retries += 1
        self.on_wait(seconds, error)
        return seconds


def backoff(retries: int, first: float = 1.0, longest: float = 30.0) -> float:
    """Return the seconds to wait before the next retry: exponential, with jitter."""
    return min(longest, first * 2.0**retries) * random.uniform(1.0, 1.5)  # noqa: S311 - spreads clients out


def is_transient(error: Exception) -> bool:
    """Return whether an httpx error can disappear when the same request is sent again."""
    return isinstance(error, httpx.TransportError) and not isinstance(
        error, httpx.LocalProtocolError | httpx.UnsupportedProtocol
    )


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks to wait; it holds seconds or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


class TooLargeError(Exception):
    """A reply is larger than `MAX_REPLY` after decompression."""


async def read_async(streamed: httpx.Response) -> httpx.Response:
    """Return a streamed reply with its body read, as `read` does."""
    body = bytearray()
    async for chunk in streamed.aiter_bytes():
        body += chunk
        _check_size(body)
    return _with_body(streamed, body)


def read(streamed: httpx.Response) -> httpx.Response:
    """Return a streamed reply with its body read.

    Raises
    ------
    TooLargeError
        The body is larger than `MAX_REPLY`: a compression bomb, or a stream without an end.
    """
    body = bytearray()
    for chunk in streamed.iter_bytes():
        body += chunk
        _check_size(body)
    return _with_body(streamed, body)


def _check_size(body: bytearray) -> None:
    if len(body) > MAX_REPLY:
        raise TooLargeError


def _with_body(streamed: httpx.Response, body: bytearray) -> httpx.Response:
    encoded = {"content-encoding", "content-length", "transfer-encoding"}  # the body is decoded
    # as bytes: some servers send characters beyond ASCII
    headers = [(name, value) for name, value in streamed.headers.raw if name.decode("latin-1").lower() not in encoded]
    return httpx.Response(streamed.status_code, headers=headers, content=bytes(body), request=streamed.request)


def explanation(reply: httpx.Response, secret: Secret) -> str:
    """Return what a server says about an error, shortened and without the secret; empty if it says nothing.

    That is the `error`, `message` or `detail` of a JSON body, or the whole body.
    """
    text = reply.text
    try:
        value = reply.json()
        for key in ("error", "message", "detail"):
            value = value.get(key, value) if isinstance(value, dict) else value
        text = value if isinstance(value, str) else str(value or "")
    except (ValueError, RecursionError):
        pass
    return secret.hide(" ".join(text.split()))[:_SHOWN]
