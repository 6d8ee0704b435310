"""Scoring on servers that return the log-probabilities of the prompt (`echo`): vLLM and others."""

from __future__ import annotations

from collections.abc import Sequence

from gate.engines.openai.completions import Completions
from gate.engines.openai.id_scorer import Firsts, IdScorer, context_of
from gate.engines.openai.scoring import Scores, TextScore, list_length, text_score
from gate.engines.openai.tokens import TokenSource
from gate.engines.tokens.sequences import ScoredSequence, joined_texts
from gate.errors import EvaluationError
from gate.tasks.requests import LoglikelihoodRequest, RollingAnswer, RollingRequest

_SET_TOKENIZER = "Set `tokenizer:` to a folder or hub name with the served model's tokenizer."


class EchoScorer(IdScorer):
    """Scores a continuation by a prompt of token ids: the context and the continuation."""

    def __init__(self, completions: Completions, tokens: TokenSource, lanes: int, max_length: int | None) -> None:
        super().__init__(tokens, lanes, max_length)
        self._completions = completions

    async def _score_sequences(self, sequences: Sequence[ScoredSequence]) -> list[TextScore]:
        """Return the score of each sequence."""
        prompts = [sequence.ids for sequence in sequences]
        echoes = await self._completions.echo_each(prompts, [sequence.start for sequence in sequences])
        return list(map(text_score, echoes))

    async def _firsts(
        self, requests: Sequence[LoglikelihoodRequest], sequences: Sequence[Sequence[ScoredSequence]]
    ) -> Firsts:
        """Return the lists of likeliest tokens that requests ask for."""
        wanted = {
            number: context_of(own)
            for number, (request, own) in enumerate(zip(requests, sequences, strict=True))
            if own and (request.top or request.reference)
        }
        length = max((list_length(requests[number]) for number in wanted), default=0)
        lists = await self._completions.likeliest_each(list(wanted.values()), length)
        return dict(zip(wanted, lists, strict=True))


class TextEchoScorer:
    """Scores with prompts sent as text. A continuation's tokens follow as many tokens as the context has."""

    at_once = 1

    def __init__(self, completions: Completions, lanes: int) -> None:
        self.lanes = lanes
        self._completions = completions

    async def score(self, requests: Sequence[LoglikelihoodRequest], lane: int) -> list[Scores]:  # noqa: ARG002
        """Score the continuations of requests."""
        return [await self._score(request) for request in requests]

    async def rolling(self, requests: Sequence[RollingRequest], lane: int) -> list[RollingAnswer]:  # noqa: ARG002
        """Raise an error: a text is cut into windows of tokens."""
        raise EvaluationError("the server cannot score whole texts: it has no route /tokenize.", _SET_TOKENIZER)

    async def _score(self, request: LoglikelihoodRequest) -> Scores:
        context, joined = joined_texts(request)
        if not context:
            raise EvaluationError(
                "an empty context needs the token that texts start with, which the server does not report.",
                _SET_TOKENIZER,
            )
        top = list_length(request)
        first, count = await self._completions.likeliest(context, max(1, top))
        if count is None:
            raise EvaluationError(
                "the server does not report the number of tokens in a prompt (`usage`), so the boundary between "
                "context and choice is unknown.",
                _SET_TOKENIZER,
            )
        scores: list[TextScore] = []
        tokens_out = 0
        for text in joined:
            positions = await self._completions.echo(text)
            if not positions:
                raise EvaluationError(
                    "the server echoed the log-probabilities of earlier prompts, but not of this one.",
                    "Check the server's log.",
                )
            continuation = positions[max(1, min(count, len(positions) - 1)) :]
            scores.append(text_score(continuation))
            tokens_out += len(continuation)
        return Scores(tuple(scores), count * len(joined), tokens_out, first if top else ())
