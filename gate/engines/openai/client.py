"""HTTP to one server: retries that honour Retry-After, a bound on what is under way, and errors without the key."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import stamina

from gate import __version__
from gate.config import EngineSettings
from gate.errors import ConfigError, EvaluationError

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
# one line a call that waits, ours; stamina would write one a request
logging.getLogger("stamina").setLevel(logging.ERROR)

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_ATTEMPTS = 10
_LATE_ATTEMPTS = 3  # a server that is too slow only gets slower by repetition
_PATIENCE = 900.0  # seconds until the last attempt of a request may begin
_LONGEST_WAIT = 600.0  # seconds that a server may ask to wait
_SHOWN = 300  # characters of a server's own words


class RefusedError(EvaluationError):
    """The server understood the request and will not answer it (a 4xx status)."""

    def __init__(self, status: int, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.status = status


class _BusyError(Exception):
    """The server asks to come again later."""

    def __init__(self, status: int, wait: float | None, words: str) -> None:
        super().__init__(status)
        self.status, self.wait, self.words = status, wait, words


class Client:
    """A connection to one server; `async with` opens it.

    Parameters
    ----------
    settings : EngineSettings
        Address, variable of the key, timeout.
    """

    def __init__(self, settings: EngineSettings) -> None:
        try:
            url = httpx.URL(settings.base_url or "")
        except httpx.InvalidURL as error:
            raise ConfigError(f"engine.base_url is not an address: {error}.") from None
        path = url.path.rstrip("/") or "/v1"
        self._base = url.copy_with(path=path, query=None, fragment=None)
        # servers have routes of their own beside OpenAI's, one level up
        self._root = self._base.copy_with(path=path.removesuffix("/v1") or "/")
        self._key = _key(settings.api_key_env)
        self._variable = settings.api_key_env
        self._timeout = settings.timeout
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=min(settings.timeout, 30.0)),  # the whole has asyncio's
            limits=httpx.Limits(max_connections=settings.concurrency + 1, keepalive_expiry=60.0),
            headers={"User-Agent": f"quantgate/{__version__}"}
            | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            follow_redirects=False,  # the key would go to whoever the redirect names
        )
        self._said = False

    @property
    def address(self) -> str:
        """The server as messages name it: without user, password and query."""
        return str(self._base.copy_with(userinfo=b""))

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def get(self, route: str, attempts: int = _ATTEMPTS) -> Any:
        """Return the JSON behind a route; `v1/...` is OpenAI's, all else is the server's own.

        Raises
        ------
        RefusedError
            A 4xx status.
        EvaluationError
            No answer in time, or none that is JSON.
        """
        return await self._ask("GET", route, None, attempts)

    async def post(self, route: str, body: dict[str, Any], attempts: int = _ATTEMPTS) -> Any:
        """Return the JSON that a route answers a body with; as `get`."""
        return await self._ask("POST", route, body, attempts)

    async def _ask(self, method: str, route: str, body: dict[str, Any] | None, attempts: int) -> Any:
        own = route.startswith("v1/")
        start = self._base if own else self._root
        url = start.copy_with(path=f"{start.path.rstrip('/')}/{route.removeprefix('v1/')}")
        tried = 0
        try:
            async for attempt in stamina.retry_context(
                on=_Patience(self._say if attempts > 1 else lambda _: None),
                attempts=attempts,
                timeout=_PATIENCE,
                wait_initial=0.5,
                wait_max=30.0,
                wait_jitter=0.5,
            ):
                with attempt:
                    tried = attempt.num
                    async with asyncio.timeout(self._timeout):
                        reply = await self._http.request(method, url, json=body)
                    self._check(reply, route)
        except _BusyError as busy:
            wait = f" and asks to wait {busy.wait:.0f} s" if busy.wait is not None else ""
            raise EvaluationError(
                f"the server {self.address} answers /{route} with status {busy.status}{wait} "
                f"(asked {tried} times): {busy.words}",
                "Lower engine.concurrency, or look into the server's log.",
            ) from None
        except TimeoutError:
            raise EvaluationError(
                f"the server {self.address} took more than {self._timeout:g} s over /{route} (asked {tried} times).",
                "Raise engine.timeout, or lower engine.concurrency.",
            ) from None
        except httpx.HTTPError as error:
            raise EvaluationError(
                f"the server {self.address} cannot be reached (/{route}, asked {tried} times): "
                f"{type(error).__name__}: {self._hide(str(error))}",
                "Check base_url, and that the server runs.",
            ) from None
        try:
            return reply.json()
        except ValueError:
            raise EvaluationError(
                f"the server {self.address} answers /{route} with something that is not JSON: "
                f"{self._words(reply)!r}",
                "Check base_url: it should end where /completions begins, e.g. http://localhost:8000/v1.",
            ) from None

    def _check(self, reply: httpx.Response, route: str) -> None:
        status = reply.status_code
        if status in _BUSY:
            raise _BusyError(status, retry_after(reply.headers.get("Retry-After")), self._words(reply))
        if reply.is_redirect:
            raise RefusedError(
                status,
                f"the server {self.address} redirects /{route} to {reply.headers.get('Location', '?')}; "
                "redirects are not followed.",
                "Write the final address as base_url.",
            )
        if status in (401, 403):
            state = "was sent" if self._key else "is not set"
            raise RefusedError(
                status,
                f"the server {self.address} refuses /{route} with status {status}: {self._words(reply)}",
                f"The key is read from the variable {self._variable}, which {state}.",
            )
        if not reply.is_success:
            raise RefusedError(
                status,
                f"the server {self.address} refuses /{route} with status {status}: {self._words(reply)}",
            )

    def _words(self, reply: httpx.Response) -> str:
        """Return the server's own explanation, cut short and without the key."""
        text = reply.text
        try:
            told = reply.json()
            for name in ("error", "message", "detail"):
                told = told.get(name, told) if isinstance(told, dict) else told
            text = told if isinstance(told, str) else str(told)
        except ValueError:
            pass
        return self._hide(" ".join(text.split())[:_SHOWN]) or "(no explanation)"

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _say(self, what: str) -> None:
        if not self._said:
            self._said = True
            _LOG.warning("the server %s %s; waiting and asking again", self.address, what)


def _key(variable: str | None) -> str | None:
    """Return the key in a variable, without the line end that secrets often bring; None where there is none."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the key in {variable} has characters that no HTTP header can carry.",
            "Set the variable again, without quotes, spaces or line breaks inside.",
        )
    return key or None


class _Patience:
    """Decides whether and when a failed attempt is worth another; stamina asks it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._late = 0
        self._say = say

    def __call__(self, error: Exception) -> bool | float:
        if isinstance(error, httpx.LocalProtocolError):  # our own request is wrong, and stays so
            return False
        if isinstance(error, _BusyError):
            if error.wait is not None and error.wait > _LONGEST_WAIT:
                return False
            self._say(f"answers with status {error.status}")
            return True if error.wait is None else error.wait
        if isinstance(error, TimeoutError | httpx.TimeoutException):
            self._late += 1
            self._say("is late")
            return self._late < _LATE_ATTEMPTS
        if isinstance(error, httpx.UnsupportedProtocol):
            return False
        if isinstance(error, httpx.TransportError):
            self._say(f"dropped a connection ({type(error).__name__})")
            return True
        return False


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks to wait: it holds seconds or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        return max(0.0, float(value)) if value.strip().replace(".", "", 1).isdigit() else _until(value)
    except (ValueError, TypeError, OverflowError):
        return None


def _until(date: str) -> float:
    moment = parsedate_to_datetime(date)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


async def in_lanes(count: int, lanes: int, work: Callable[[int, int], Awaitable[T]]) -> list[T]:
    """Do `work(index, lane)` for every index, at most one at a time in each lane; return results in order of index.

    Indices are begun in their order, so that a server's prefix cache meets neighbours one after the other. The first
    error ends the others and is raised as itself.
    """
    done: dict[int, T] = {}
    waiting = iter(range(count))

    async def run(lane: int) -> None:
        for index in waiting:
            done[index] = await work(index, lane)

    try:
        async with asyncio.TaskGroup() as group:
            for lane in range(min(lanes, count)):
                group.create_task(run(lane))
    except BaseExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    return [done[index] for index in range(count)]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop already runs (in a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
