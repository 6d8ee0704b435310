"""Scoring on llama.cpp's own server, which gives log-probabilities of generated tokens only.

A bias on one token makes the server generate just that, and it reports the token's log-probability from the model's
logits, before the bias: exact for any token, at one request a token. The context stays in the server's cache, so that
a request computes one new token; each lane keeps to a slot of its own for that. Continuations of one token share a
request where the list of the likeliest holds them.
"""

from __future__ import annotations

from gate.engines.base import LoglikelihoodRequest, RollingAnswer, RollingRequest
from gate.engines.openai.client import Client
from gate.engines.openai.scoring import Scores
from gate.engines.openai.server import Server
from gate.engines.openai.wire import Likely, NativeCompletion, Position, read
from gate.engines.tokens.served import Scored, Tokens, scored, windows
from gate.errors import EvaluationError

_ROUTE = "completion"
_FORCE = 1e4  # added to the logit of the token that must come
_LIST = 64  # the likeliest tokens that are asked for where single tokens are scored


class LlamaCppScorer:
    """Scores continuations token by token; see the module."""

    def __init__(self, client: Client, server: Server, tokens: Tokens, concurrency: int) -> None:
        self._slots = server.slots or 1
        self.lanes = min(concurrency, self._slots)
        self._client, self._tokens = client, tokens
        self._max_length = server.max_length

    async def score(self, request: LoglikelihoodRequest, likeliest: int, lane: int) -> Scores:
        """Score a request's continuations."""
        rows, cut = await scored(self._tokens, request, self._max_length)
        known: dict[tuple[int, ...], Position] = {}
        first: tuple[Likely, ...] = ()
        if rows and (likeliest or any(len(row.ids) == row.start + 1 for row in rows)):
            context = rows[0].ids[: rows[0].start]
            known[context] = await self._next(context, lane, max(likeliest, _LIST))
            first = known[context].top if likeliest else ()
        found = [await self._row(row, lane, known) for row in rows]
        return Scores(
            tuple(value for value, _ in found),
            tuple(greedy for _, greedy in found),
            sum(row.start for row in rows),
            sum(len(row.ids) - row.start for row in rows),
            first,
            cut,
        )

    async def rolling(self, request: RollingRequest, lane: int) -> RollingAnswer:
        """Score a whole text, a request a token."""
        rows = await windows(self._tokens, request, self._max_length)
        found = [await self._row(row, lane, {}) for row in rows]
        return RollingAnswer(sum(value for value, _ in found), sum(len(row.ids) - row.start for row in rows))

    async def check(self, text: str) -> tuple[float, float]:
        """Return the third likeliest token's log-probability as listed, and as reported where it is made to come."""
        (ids,) = await self._tokens.encode([text])
        listed = (await self._next(tuple(ids), 0, 3)).top[2]
        if listed.id is None:
            raise EvaluationError("the server lists likely tokens without their ids.")
        made = await self._next(tuple(ids), 0, 1, listed.id)
        return listed.logprob, made.token.logprob if made.token else 0.0

    async def _row(
        self, row: Scored, lane: int, known: dict[tuple[int, ...], Position]
    ) -> tuple[float, bool]:
        total, greedy = 0.0, True
        for place in range(row.start, len(row.ids)):
            before, token = row.ids[:place], row.ids[place]
            listed = known.get(before)
            match = next((one for one in listed.top if one.id == token), None) if listed else None
            if match is None or listed is None:
                made = await self._next(before, lane, 1, token)
                match, listed = made.token, made
            if match is None:
                raise EvaluationError("the server gives no log-probability for the token that it made.")
            total += match.logprob
            greedy &= listed.top[0].id == token
        return total, greedy

    async def _next(
        self, prompt: tuple[int, ...], lane: int, count: int, force: int | None = None
    ) -> Position:
        """Return the next token, the one that is forced or the likeliest, and the `count` likeliest."""
        body = {
            "prompt": list(prompt),
            "n_predict": 1,
            "n_probs": count,
            "temperature": 0,
            "post_sampling_probs": False,
            "cache_prompt": True,
            "id_slot": lane % self._slots,
            **({} if force is None else {"logit_bias": [[force, _FORCE]]}),
        }
        found = read(NativeCompletion, await self._client.post(_ROUTE, body), _ROUTE).positions
        if not found or not found[0].top or found[0].token is None:
            raise EvaluationError(
                "the llama.cpp server answers without log-probabilities (n_probs).",
                "Use a newer build of llama.cpp.",
            )
        if force is not None and found[0].token.id != force:
            raise EvaluationError(
                f"the llama.cpp server made token {found[0].token.id} where {force} was forced by logit_bias.",
                "Use a newer build of llama.cpp, without sampling on the device.",
            )
        return found[0]
