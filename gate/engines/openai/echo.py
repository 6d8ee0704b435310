"""Scoring on servers that return the log-probabilities of the prompt (`echo`): vLLM, SGLang and others."""

from __future__ import annotations

from gate.engines.openai.completions import Completions
from gate.engines.openai.scoring import Scores, TextScore, request_scores, rolling_answer
from gate.engines.openai.tokens import request_sequences, request_windows
from gate.engines.openai.wire import Likely, Position
from gate.engines.tokens.sequences import ScoredSequence, joined_texts
from gate.errors import EvaluationError
from gate.tasks.requests import LoglikelihoodRequest, RollingAnswer, RollingRequest

_SET_TOKENIZER = "Set `tokenizer:` to a folder or hub name with the served model's tokenizer."


class EchoScorer:
    """Scores a continuation with one request, whose prompt is the context and the continuation."""

    def __init__(self, completions: Completions, lanes: int, max_length: int | None) -> None:
        self.lanes = lanes
        self._completions = completions
        self._max_length = max_length

    async def score(self, request: LoglikelihoodRequest, top: int, lane: int) -> Scores:  # noqa: ARG002
        """Score a request's continuations."""
        if self._completions.tokens is None:
            return await self._score_texts(request, top)
        sequences = await request_sequences(self._completions.tokens, request, self._max_length)
        first: tuple[Likely, ...] = ()
        if top and sequences:
            first, _ = await self._completions.likeliest(list(sequences[0].ids[: sequences[0].start]), top)
        scores = [await self._score_sequence(sequence) for sequence in sequences]
        return request_scores(sequences, scores, first)

    async def rolling(self, request: RollingRequest, lane: int) -> RollingAnswer:  # noqa: ARG002
        """Score a whole text."""
        if self._completions.tokens is None:
            raise EvaluationError("the server cannot score whole texts: it has no route /tokenize.", _SET_TOKENIZER)
        windows = await request_windows(self._completions.tokens, request, self._max_length)
        return rolling_answer(windows, [await self._score_sequence(window) for window in windows])

    async def _score_sequence(self, sequence: ScoredSequence) -> TextScore:
        positions = await self._completions.echo(list(sequence.ids))
        if len(positions) != len(sequence.ids):
            raise _no_echo()
        for position, expected in zip(positions, sequence.ids, strict=True):
            echoed = position.token.id if position.token else None
            if echoed is not None and echoed != expected:
                raise EvaluationError(
                    f"the server echoes token {echoed} in place of token {expected} of the prompt.",
                    "It changes token ids; set `tokenizer:` to the served model's own.",
                )
        return _score(positions[sequence.start :])

    async def _score_texts(self, request: LoglikelihoodRequest, top: int) -> Scores:
        """Score with prompts sent as text. A continuation's tokens follow as many tokens as the context has."""
        context, joined = joined_texts(request)
        if not context:
            raise EvaluationError(
                "an empty context needs the token that texts start with, which the server does not report.",
                _SET_TOKENIZER,
            )
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
                raise _no_echo()
            continuation = positions[max(1, min(count, len(positions) - 1)) :]
            scores.append(_score(continuation))
            tokens_out += len(continuation)
        return Scores(tuple(scores), count * len(joined), tokens_out, first if top else ())


def _no_echo() -> EvaluationError:
    return EvaluationError(
        "the server echoed the log-probabilities of earlier prompts, but not of this one.",
        "Check the server's log.",
    )


def _score(positions: list[Position]) -> TextScore:
    total, greedy = 0.0, True
    for position in positions:
        if position.token is None:
            raise EvaluationError("the server returned no log-probability for a token of a continuation.")
        total += position.token.logprob
        greedy &= bool(position.top) and position.token.logprob >= position.top[0].logprob
    return TextScore(total, greedy)
