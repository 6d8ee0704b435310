"""Scoring on servers that give no more than the likeliest next tokens: choices that are one token each."""

from __future__ import annotations

from gate.engines.base import LoglikelihoodRequest, RollingAnswer, RollingRequest
from gate.engines.openai.echo import Completions
from gate.engines.openai.scoring import Scores
from gate.engines.openai.wire import Likely
from gate.engines.tokens.served import border
from gate.errors import EvaluationError

_WANTED = 100
_HINT = (
    "Ask for the letter of the answer (choices A, B, C, D) and show the options in the prompt; or serve the model with "
    "vLLM, SGLang or llama.cpp's own server, which can score any text."
)


class TopListScorer:
    """Looks choices up in the list of likeliest next tokens: exact where all are in it, an error where one is not."""

    def __init__(self, completions: Completions, lanes: int) -> None:
        self.lanes = lanes
        self._completions = completions

    async def score(self, request: LoglikelihoodRequest, likeliest: int, lane: int) -> Scores:  # noqa: ARG002
        """Score a request's continuations."""
        pairs = [border(continuation, request.context) for continuation in request.continuations]
        context = pairs[0][0]
        first, count = await self._completions.likeliest(context, max(likeliest, _WANTED))
        found: list[Likely] = []
        for _, text in pairs:
            wanted = text[len(context) :]
            match = next((one for one in first if one.text == wanted), None)
            if match is None:
                raise EvaluationError(
                    f"the server gives the {len(first)} likeliest next tokens only, and the choice {wanted!r} after "
                    f"{context[-40:]!r} is not one of them.",
                    _HINT,
                )
            found.append(match)
        return Scores(
            tuple(one.logprob for one in found),
            tuple(one is first[0] for one in found),
            (count or 0) * len(pairs),
            len(pairs),
            first if likeliest else (),
        )

    async def rolling(self, request: RollingRequest, lane: int) -> RollingAnswer:  # noqa: ARG002
        """Refuse: this server cannot score whole texts."""
        raise EvaluationError(
            "the server gives no log-probabilities of a prompt: whole texts cannot be scored.", _HINT
        )
