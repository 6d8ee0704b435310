"""What the ways of scoring on a server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gate.engines.base import LoglikelihoodRequest, RollingAnswer, RollingRequest
from gate.engines.openai.wire import Likely


@dataclass(frozen=True)
class Scores:
    """A request's continuations, scored.

    Attributes
    ----------
    loglikelihoods : tuple of float
        Nats, one a continuation.
    greedy : tuple of bool
        Whether greedy decoding would give it; empty where the server does not tell.
    tokens_in, tokens_out : int
        Tokens before the continuations and of them.
    first : tuple of Likely
        The likeliest tokens after the context, likeliest first; empty where not asked for.
    cut : int
        Continuations whose context had to be cut on the left.
    """

    loglikelihoods: tuple[float, ...]
    greedy: tuple[bool, ...]
    tokens_in: int
    tokens_out: int
    first: tuple[Likely, ...] = ()
    cut: int = 0


class Scorer(Protocol):
    """One way to get log-likelihoods out of a server."""

    lanes: int
    """Requests that it answers at a time."""

    async def score(self, request: LoglikelihoodRequest, likeliest: int, lane: int) -> Scores:
        """Score a request's continuations; also return the `likeliest` tokens after its context (0 for none)."""

    async def rolling(self, request: RollingRequest, lane: int) -> RollingAnswer:
        """Score a whole text."""
