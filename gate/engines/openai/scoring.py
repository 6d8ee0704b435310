"""The interface of the scoring methods for servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gate.engines.openai.wire import Likely, Position
from gate.engines.tokens.sequences import ScoredSequence
from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest, RollingAnswer, RollingRequest

_MAX_TOP = 4096  # a list of the whole vocabulary would be megabytes of JSON per item


@dataclass(frozen=True)
class TextScore:
    """Log-likelihood of a continuation and of each token, if known (nats), and whether it is the greedy one."""

    loglikelihood: float
    greedy: bool
    token_logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Scores:
    """Scores of a request's continuations.

    Attributes
    ----------
    tokens_in, tokens_out : int
        Tokens of the contexts and of the continuations, summed over the continuations.
    first : tuple of Likely
        The likeliest tokens after the context, or those of the reference, likeliest first; empty if not requested.
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
    """Number of calls at a time."""
    at_once: int
    """Most requests per call."""

    async def score(self, requests: Sequence[LoglikelihoodRequest], lane: int) -> list[Scores]:
        """Score the continuations of requests, and return tokens after their contexts where they ask for that."""

    async def rolling(self, requests: Sequence[RollingRequest], lane: int) -> list[RollingAnswer]:
        """Score whole texts."""


def list_length(request: LoglikelihoodRequest | GenerateRequest) -> int:
    """Return how many likely tokens to request: twice the reference's, since the two lists may differ."""
    return min(_MAX_TOP, len(request.reference.tokens) * 2 if request.reference else request.top)


def text_score(positions: Sequence[Position]) -> TextScore:
    """Return the score of a continuation from the positions of its tokens."""
    total, greedy = 0.0, True
    for position in positions:
        if position.token is None:
            raise EvaluationError("the server returned no log-probability for a token of a continuation.")
        total += position.token.logprob
        greedy &= bool(position.top) and position.token.logprob >= position.top[0].logprob
    return TextScore(total, greedy, tuple(position.token.logprob for position in positions if position.token))


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
    values = tuple(value for score in scores for value in score.token_logprobs)
    count = _scored_tokens(windows)
    known = values if len(values) == count else ()
    return RollingAnswer(sum(score.loglikelihood for score in scores), count, known)


def _scored_tokens(sequences: Sequence[ScoredSequence]) -> int:
    return sum(len(sequence.ids) - sequence.start for sequence in sequences)
