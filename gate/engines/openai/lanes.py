"""Concurrent requests from synchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Runner(Protocol):
    """Runs a coroutine to completion; see `run`."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        """Return the result of a coroutine."""


async def in_lanes(count: int, lanes: int, work: Callable[[int, int], Awaitable[T]]) -> list[T]:
    """Run `work(index, lane)` for each index, one at a time per lane, and return the results in order of index.

    Work starts in order of index, so that requests with a common prefix reach the server's prefix cache together. The
    first error cancels the rest and is raised.
    """
    results: dict[int, T] = {}
    indices = iter(range(count))

    async def run_lane(lane: int) -> None:
        for index in indices:
            results[index] = await work(index, lane)

    try:
        async with asyncio.TaskGroup() as group:
            for lane in range(min(lanes, count)):
                group.create_task(run_lane(lane))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [results[index] for index in range(count)]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to completion, even inside a running event loop (in a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
