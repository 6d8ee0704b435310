"""Groups of prompts that share one request, bounded by their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

TOKENS = 4096
"""Most tokens of the prompts of one request: a slow server must answer all requests in flight within the time limit."""
PROMPTS = 256
"""Most prompts of one request."""
REQUESTS_AT_ONCE = 16
"""Most requests of tasks that a scorer gets in one call."""


def by_tokens(prompts: Sequence[Sequence[int]], many: bool = True) -> Iterator[range]:
    """Yield ranges of adjacent prompts, each with at most `TOKENS` tokens or one prompt.

    If `many` is False, each range has one prompt.
    """
    start = tokens = 0
    for index, prompt in enumerate(prompts):
        if index > start and (not many or tokens + len(prompt) > TOKENS or index - start == PROMPTS):
            yield range(start, index)
            start, tokens = index, 0
        tokens += len(prompt)
    if prompts:
        yield range(start, len(prompts))
