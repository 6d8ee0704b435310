"""Wait until a server has loaded its model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import httpx

from gate.common.http import TooLargeError, read
from gate.engines.served.log import failure
from gate.engines.served.process import ServerProcess
from gate.errors import StartError

_POLL = 0.25  # seconds
_ANSWER = 5.0  # seconds; a server that loads a model may be slow
_REPORT = 15.0  # seconds between messages


def wait_until_ready(
    process: ServerProcess,
    url: str,
    timeout: float,
    what: str,
    message: Callable[[str], None],
    is_own: Callable[[], bool],
) -> float:
    """Wait until a route answers with status 200, and return the seconds that it took.

    `is_own` tells whether the answer comes from this server: another process may have taken the port in the meantime.

    Raises
    ------
    StartError
        The server ended, or `timeout` seconds have passed; the message shows the end of its log.
    """
    started = time.monotonic()
    reported = started
    with httpx.Client(trust_env=False, timeout=_ANSWER) as client:  # no proxy between this machine and itself
        while True:
            is_ready = _answers(client, url) and is_own()
            seconds = time.monotonic() - started
            code = process.exit_code
            if code is not None:
                raise failure(f"{what} ended after {seconds:.0f} s, before it was ready", code, process.log)
            if is_ready:
                return seconds
            if seconds > timeout:
                raise StartError(
                    f"{what} was not ready after {timeout:g} s ({url} does not answer with status 200).\n"
                    f"{process.log.tail()}",
                    "Raise engine.startup_timeout, or set engine.ready to the route that reports that it is ready.",
                )
            if time.monotonic() - reported > _REPORT:
                reported = time.monotonic()
                last = (process.log.lines() or ["no output so far"])[-1][:120]
                message(f"  starting for {seconds:.0f} s: {last}")
            time.sleep(_POLL)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        with client.stream("GET", url) as reply:
            return reply.status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def listed_names(base_url: str) -> list[str]:
    """Return the names of the models that a server lists, with their aliases; none if it lists none."""
    try:
        with (
            httpx.Client(trust_env=False, timeout=_ANSWER) as client,
            client.stream("GET", f"{base_url}/models") as streamed,
        ):
            reply = read(streamed).json()
    except (httpx.HTTPError, TooLargeError, ValueError, RecursionError):
        return []  # the engine reports what is wrong
    entries = reply.get("data") if isinstance(reply, dict) else None
    names: list[str] = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            aliases = entry.get("aliases")
            names += [str(entry.get("id")), *(map(str, aliases) if isinstance(aliases, list) else [])]
    return names


def find_name(names: Sequence[str], listed: Sequence[str]) -> str | None:
    """Return the listed name of a model that may have several names; a listed path also counts by its last part."""
    return next((each for name in names for each in listed if name in (each, PurePosixPath(each).name)), None)
