"""What the scorers that send token ids share: several requests at once, as sequences of ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import islice

from gate.engines.openai.batches import REQUESTS_AT_ONCE
from gate.engines.openai.scoring import Scores, TextScore, list_length, request_scores, rolling_answer
from gate.engines.openai.tokens import TokenSource, as_sequences, as_windows
from gate.engines.openai.wire import Likely
from gate.engines.tokens.sequences import ScoredSequence
from gate.tasks.requests import LoglikelihoodRequest, RollingAnswer, RollingRequest

Firsts = dict[int, tuple[Likely, ...]]
"""Tokens after the contexts of requests, likeliest first, by the number of the request."""


class IdScorer(ABC):
    """A `gate.engines.openai.scoring.Scorer` of token ids."""

    at_once = REQUESTS_AT_ONCE

    def __init__(self, tokens: TokenSource, lanes: int, max_length: int | None) -> None:
        self.lanes = lanes
        self._tokens, self._max_length = tokens, max_length

    async def score(self, requests: Sequence[LoglikelihoodRequest], lane: int) -> list[Scores]:  # noqa: ARG002
        """Score the continuations of requests."""
        sequences = await as_sequences(self._tokens, requests, self._max_length)
        firsts = await self._firsts(requests, sequences)
        scores = await self._score_requests(sequences, firsts)
        return [
            request_scores(own, score, _requested(request, firsts.get(number, ())))
            for number, (request, own, score) in enumerate(zip(requests, sequences, scores, strict=True))
        ]

    async def rolling(self, requests: Sequence[RollingRequest], lane: int) -> list[RollingAnswer]:  # noqa: ARG002
        """Score whole texts."""
        windows = await as_windows(self._tokens, requests, self._max_length)
        scores = iter(await self._score_sequences([window for own in windows for window in own]))
        return [rolling_answer(own, list(islice(scores, len(own)))) for own in windows]

    async def _score_requests(
        self,
        sequences: Sequence[Sequence[ScoredSequence]],
        firsts: Firsts,  # noqa: ARG002
    ) -> list[list[TextScore]]:
        """Return the scores of each request's sequences; `firsts` holds what is already known."""
        scores = iter(await self._score_sequences([sequence for own in sequences for sequence in own]))
        return [list(islice(scores, len(own))) for own in sequences]

    @abstractmethod
    async def _score_sequences(self, sequences: Sequence[ScoredSequence]) -> list[TextScore]:
        """Return the score of each sequence."""

    @abstractmethod
    async def _firsts(
        self, requests: Sequence[LoglikelihoodRequest], sequences: Sequence[Sequence[ScoredSequence]]
    ) -> Firsts:
        """Return the tokens after the contexts of the requests that ask for them, or that are scored by them."""


def context_of(sequences: Sequence[ScoredSequence]) -> tuple[int, ...]:
    """Return the token ids of a request's context."""
    return sequences[0].ids[: sequences[0].start]


def _requested(request: LoglikelihoodRequest, first: tuple[Likely, ...]) -> tuple[Likely, ...]:
    """Return the tokens that a request asks for, of all that are known."""
    return first if request.reference else first[: list_length(request)]
