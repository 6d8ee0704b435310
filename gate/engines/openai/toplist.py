"""Scoring on servers that return only the likeliest next tokens: choices of one token each."""

from __future__ import annotations

from collections.abc import Sequence

from gate.engines.openai.completions import Completions
from gate.engines.openai.scoring import Scores, TextScore, list_length
from gate.engines.tokens.sequences import joined_texts
from gate.errors import EvaluationError
from gate.tasks.requests import LoglikelihoodRequest, RollingAnswer, RollingRequest

_TOP = 100
_HINT = (
    "Ask for the letter of the answer (choices A, B, C, D) and show the options in the prompt; or serve the model with "
    "vLLM, SGLang or llama.cpp's own server, which can score any text."
)


class TopListScorer:
    """Looks up each choice in the list of likeliest next tokens. A choice that is not listed is an error."""

    at_once = 1

    def __init__(self, completions: Completions, lanes: int) -> None:
        self.lanes = lanes
        self._completions = completions

    async def score(self, requests: Sequence[LoglikelihoodRequest], lane: int) -> list[Scores]:  # noqa: ARG002
        """Score the continuations of requests."""
        return [await self._score(request) for request in requests]

    async def _score(self, request: LoglikelihoodRequest) -> Scores:
        context, joined = joined_texts(request)
        top = list_length(request)
        first, count = await self._completions.likeliest(context, max(top, _TOP))
        scores: list[TextScore] = []
        for text in joined:
            choice = text[len(context) :]
            match = next((token for token in first if token.text == choice), None)
            if match is None:
                raise EvaluationError(
                    f"the server returns only the {len(first)} likeliest next tokens, and the choice {choice!r} after "
                    f"{context[-40:]!r} is not one of them.",
                    _HINT,
                )
            scores.append(TextScore(match.logprob, greedy=match is first[0]))
        return Scores(tuple(scores), (count or 0) * len(joined), len(joined), first if top else ())

    async def rolling(self, requests: Sequence[RollingRequest], lane: int) -> list[RollingAnswer]:  # noqa: ARG002
        """Raise an error: without log-probabilities of prompts, whole texts cannot be scored."""
        raise EvaluationError(
            "the server returns no log-probabilities of prompts, so whole texts cannot be scored.", _HINT
        )
