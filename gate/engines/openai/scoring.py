"""The interface of the scoring methods for servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gate.engines.openai.wire import Likely
from gate.engines.tokens.sequences import ScoredSequence
from gate.tasks.requests import LoglikelihoodRequest, RollingAnswer, RollingRequest


@dataclass(frozen=True)
class TextScore:
    """Log-likelihood of a continuation (nats), and whether it is its greedy continuation."""

    loglikelihood: float
    greedy: bool


@dataclass(frozen=True)
class Scores:
    """Scores of a request's continuations.

    Attributes
    ----------
    tokens_in, tokens_out : int
        Tokens of the contexts and of the continuations, summed over the continuations.
    first : tuple of Likely
        The likeliest tokens after the context, likeliest first; empty if not requested.
    truncated : bool
        Whether a context was cut on the left.
    """

    scores: tuple[TextScore, ...]
    tokens_in: int
    tokens_out: int
    first: tuple[Likely, ...] = ()
    truncated: bool = False


class Scorer(Protocol):
    """One way to get log-likelihoods from a server."""

    lanes: int
    """Number of requests in flight."""

    async def score(self, request: LoglikelihoodRequest, top: int, lane: int) -> Scores:
        """Score a request's continuations, and return the `top` likeliest tokens after its context (0 for none)."""

    async def rolling(self, request: RollingRequest, lane: int) -> RollingAnswer:
        """Score a whole text."""


def request_scores(
    sequences: Sequence[ScoredSequence], scores: Sequence[TextScore], first: tuple[Likely, ...]
) -> Scores:
    """Return the scores of a request whose continuations were scored as token ids."""
    return Scores(
        tuple(scores),
        tokens_in=sum(sequence.start for sequence in sequences),
        tokens_out=_scored_tokens(sequences),
        first=first,
        truncated=any(sequence.truncated for sequence in sequences),
    )


def rolling_answer(windows: Sequence[ScoredSequence], scores: Sequence[TextScore]) -> RollingAnswer:
    """Return the log-likelihood of a text from the scores of its windows."""
    return RollingAnswer(sum(score.loglikelihood for score in scores), _scored_tokens(windows))


def _scored_tokens(sequences: Sequence[ScoredSequence]) -> int:
    return sum(len(sequence.ids) - sequence.start for sequence in sequences)
