"""Scoring on llama.cpp's own server, which returns log-probabilities of generated tokens only.

A logit bias forces the server to generate a given token. The reported log-probability is computed from the model's
logits before the bias, so it is exact for any token, at the cost of one request per token. Each lane uses its own
slot, in which the context stays cached, so a request computes only one new token. Single-token continuations share
one request if the list of likeliest tokens holds them.
"""

from __future__ import annotations

from collections.abc import Sequence

from gate.engines.openai.client import Client
from gate.engines.openai.scoring import Scores, TextScore, list_length, request_scores, rolling_answer
from gate.engines.openai.server import Server
from gate.engines.openai.tokens import TokenSource, as_sequences, as_windows
from gate.engines.openai.wire import Likely, NativeCompletion, read
from gate.engines.tokens.sequences import ScoredSequence
from gate.errors import EvaluationError
from gate.tasks.requests import LoglikelihoodRequest, RollingAnswer, RollingRequest

_ROUTE = "completion"
_FORCE = 1e4  # logit bias that forces a token
_TOP = 64  # length of the list in which single-token continuations are looked up


class LlamaCppScorer:
    """Scores continuations token by token; see the module."""

    at_once = 1

    def __init__(self, client: Client, server: Server, tokens: TokenSource, concurrency: int) -> None:
        self.lanes = min(concurrency, server.slots)
        self._client, self._tokens = client, tokens
        self._slots, self._max_length = server.slots, server.max_input

    async def score(self, requests: Sequence[LoglikelihoodRequest], lane: int) -> list[Scores]:
        """Score the continuations of requests."""
        sequences = await as_sequences(self._tokens, requests, self._max_length)
        return [await self._score(own, list_length(each), lane) for own, each in zip(sequences, requests, strict=True)]

    async def rolling(self, requests: Sequence[RollingRequest], lane: int) -> list[RollingAnswer]:
        """Score whole texts, with one request per token."""
        return [
            rolling_answer(windows, [await self._score_sequence(window, lane, {}) for window in windows])
            for windows in await as_windows(self._tokens, requests, self._max_length)
        ]

    async def _score(self, sequences: Sequence[ScoredSequence], top: int, lane: int) -> Scores:
        known: dict[tuple[int, ...], tuple[Likely, ...]] = {}
        first: tuple[Likely, ...] = ()
        if sequences and (top or any(len(each.ids) == each.start + 1 for each in sequences)):
            context = sequences[0].ids[: sequences[0].start]
            _, first = await self._next(context, lane, max(top, _TOP))
            known[context] = first
        scores = [await self._score_sequence(sequence, lane, known) for sequence in sequences]
        return request_scores(sequences, scores, first if top else ())

    async def forced_logprob(self, text: str) -> tuple[float, float]:
        """Return the log-probability of the third likeliest token after a text, as listed and as forced (nats)."""
        (ids,) = await self._tokens.encode([text])
        _, likeliest = await self._next(tuple(ids), 0, 3)
        listed = likeliest[2] if len(likeliest) > 2 else None
        if listed is None or listed.id is None:
            raise EvaluationError("the server does not list the three likeliest tokens with their ids.")
        forced, _ = await self._next(tuple(ids), 0, 1, listed.id)
        return listed.logprob, forced.logprob

    async def _score_sequence(
        self, sequence: ScoredSequence, lane: int, known: dict[tuple[int, ...], tuple[Likely, ...]]
    ) -> TextScore:
        """Score a sequence; `known` holds the likeliest tokens after some prefixes."""
        total, greedy = 0.0, True
        for index in range(sequence.start, len(sequence.ids)):
            prompt, token = sequence.ids[:index], sequence.ids[index]
            likeliest = known.get(prompt, ())
            match = next((each for each in likeliest if each.id == token), None)
            if match is None:
                match, likeliest = await self._next(prompt, lane, 1, token)
            total += match.logprob
            greedy &= likeliest[0].id == token
        return TextScore(total, greedy)

    async def _next(
        self, prompt: tuple[int, ...], lane: int, top: int, force: int | None = None
    ) -> tuple[Likely, tuple[Likely, ...]]:
        """Return the next token (the forced one or the likeliest) and the `top` likeliest."""
        body = {
            "prompt": list(prompt),
            "n_predict": 1,
            "n_probs": top,
            "temperature": 0,
            "post_sampling_probs": False,
            "cache_prompt": True,
            "id_slot": lane % self._slots,
            **({} if force is None else {"logit_bias": [[force, _FORCE]]}),
        }
        reply = read(NativeCompletion, await self._client.request(_ROUTE, body), _ROUTE)
        if not reply.completion_probabilities or not reply.completion_probabilities[0].top:
            raise EvaluationError(
                "the llama.cpp server returned no log-probabilities (n_probs).",
                "Use a newer build of llama.cpp.",
            )
        generated = reply.completion_probabilities[0]
        if force is not None and generated.id != force:
            raise EvaluationError(
                f"the llama.cpp server generated token {generated.id}, although logit_bias forced token {force}.",
                "Use a newer build of llama.cpp, and turn off sampling on the GPU.",
            )
        return generated.likely, generated.top
