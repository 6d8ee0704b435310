"""Scoring on servers that give the log-probabilities of the prompt (`echo`): vLLM, SGLang and others."""

from __future__ import annotations

from typing import Any

from gate.engines.base import LoglikelihoodRequest, RollingAnswer, RollingRequest
from gate.engines.openai.client import Client, RefusedError
from gate.engines.openai.scoring import Scores
from gate.engines.openai.server import Server
from gate.engines.openai.wire import Completion, Likely, Position, read
from gate.engines.tokens.served import Scored, Tokens, border, scored, windows
from gate.errors import EvaluationError

_ROUTE = "v1/completions"
_LISTS = (20, 5, 1)  # lengths of the list of likeliest tokens that servers are known to allow at most


class Completions:
    """The requests that scoring makes of `/v1/completions`.

    Parameters
    ----------
    client, server
    tokens : Tokens or None
        Prompts are sent as ids of this tokenizer; None sends texts, and the server counts their tokens.
    """

    def __init__(self, client: Client, server: Server, tokens: Tokens | None) -> None:
        self._client, self._server = client, server
        self.tokens = tokens
        self._longest: int | None = None

    async def prompt(self, text: str) -> list[int] | str:
        """Return a text in the form that the server is asked in."""
        return text if self.tokens is None else (await self.tokens.encode([text]))[0]

    async def ask(self, prompt: list[int] | str, attempts: int = 10, **options: Any) -> Completion:
        """Ask for a completion at temperature 1: at 0 some servers give log-probabilities after sampling."""
        body = {
            "model": self._server.model,
            "prompt": prompt,
            "max_tokens": 1,
            "temperature": 1,
            "top_p": 1,
            "seed": 0,
            # vLLM: tokens by id, so that they can be compared with the baseline's
            **({"return_tokens_as_token_ids": True} if self._server.kind == "vllm" and self.tokens else {}),
            **options,
        }
        answer = read(Completion, await self._client.post(_ROUTE, body, attempts), _ROUTE)
        if not answer.choices:
            raise EvaluationError(f"the server answers /{_ROUTE} without a choice.")
        return answer

    async def answers(self) -> bool:
        """Tell whether the server takes prompts in this form; some say with status 500 that they do not take ids."""
        try:
            await self.ask(await self.prompt("The"), attempts=1)
        except EvaluationError:
            return False
        return True

    async def echo(self, prompt: list[int] | str, attempts: int = 10) -> list[Position]:
        """Return the prompt's own tokens with their log-probabilities; empty where the server gives none."""
        answer = await self.ask(prompt, attempts, echo=True, logprobs=1)
        count = len(prompt) if isinstance(prompt, list) else answer.usage and answer.usage.prompt_tokens
        positions = answer.choices[0].positions
        return positions[:count] if count and len(positions) >= count else []

    async def likeliest(
        self, prompt: list[int] | str, count: int, attempts: int = 10
    ) -> tuple[tuple[Likely, ...], int | None]:
        """Return the likeliest next tokens, as many as the server gives up to `count`, and the prompt's tokens."""
        for length in dict.fromkeys([min(count, self._longest or count), *(n for n in _LISTS if n < count)]):
            try:
                answer = await self.ask(prompt, attempts, logprobs=length)
            except RefusedError as refusal:
                if refusal.status not in (400, 422) or length == _LISTS[-1]:
                    raise
                continue
            self._longest = length
            positions = answer.choices[0].positions
            tokens = None if answer.usage is None else answer.usage.prompt_tokens
            return (positions[0].top if positions else ()), tokens
        return (), None


class EchoScorer:
    """Scores a continuation with one request: context and continuation are the prompt, and nothing is generated."""

    def __init__(self, completions: Completions, lanes: int, max_length: int | None) -> None:
        self.lanes = lanes
        self._completions = completions
        self._max_length = max_length

    async def score(self, request: LoglikelihoodRequest, likeliest: int, lane: int) -> Scores:  # noqa: ARG002
        """Score a request's continuations."""
        if self._completions.tokens is None:
            return await self._score_texts(request, likeliest)
        rows, cut = await scored(self._completions.tokens, request, self._max_length)
        first: tuple[Likely, ...] = ()
        if likeliest and rows:
            first, _ = await self._completions.likeliest(list(rows[0].ids[: rows[0].start]), likeliest)
        found = [await self._row(row) for row in rows]
        return Scores(
            tuple(value for value, _ in found),
            tuple(greedy for _, greedy in found),
            sum(row.start for row in rows),
            sum(len(row.ids) - row.start for row in rows),
            first,
            cut,
        )

    async def rolling(self, request: RollingRequest, lane: int) -> RollingAnswer:  # noqa: ARG002
        """Score a whole text."""
        if self._completions.tokens is None:
            raise EvaluationError(
                "whole texts cannot be scored on this server: it has no route /tokenize.",
                "Set `tokenizer:` to a folder or hub name with the served model's tokenizer.",
            )
        rows = await windows(self._completions.tokens, request, self._max_length)
        found = [await self._row(row) for row in rows]
        return RollingAnswer(sum(value for value, _ in found), sum(len(row.ids) - row.start for row in rows))

    async def _row(self, row: Scored) -> tuple[float, bool]:
        positions = await self._completions.echo(list(row.ids))
        if len(positions) != len(row.ids):
            raise _silent()
        for position, expected in zip(positions, row.ids, strict=True):
            known = position.token.id if position.token else None
            if known is not None and known != expected:
                raise EvaluationError(
                    f"the server echoes token {known} where {expected} was asked.",
                    "It does not take token ids as they are; set `tokenizer:` to the served model's own.",
                )
        return _sum(positions[row.start :])

    async def _score_texts(self, request: LoglikelihoodRequest, likeliest: int) -> Scores:
        """Score with texts: the joined text's tokens after as many as the context has are the continuation's."""
        pairs = [border(continuation, request.context) for continuation in request.continuations]
        if not pairs[0][0]:
            raise EvaluationError(
                "an empty context needs the token that texts begin with, which this server does not tell.",
                "Set `tokenizer:` to a folder or hub name with the served model's tokenizer.",
            )
        first, count = await self._completions.likeliest(pairs[0][0], max(1, likeliest))
        if count is None:
            raise EvaluationError(
                "the server does not count the tokens of prompts (`usage`), so that the border between context and "
                "choice is unknown.",
                "Set `tokenizer:` to a folder or hub name with the served model's tokenizer.",
            )
        sums, greedy, scored_tokens = [], [], 0
        for _, text in pairs:
            positions = await self._completions.echo(text)
            if not positions:
                raise _silent()
            rest = positions[max(1, min(count, len(positions) - 1)) :]
            value, top = _sum(rest)
            sums.append(value)
            greedy.append(top)
            scored_tokens += len(rest)
        size = count * len(pairs)
        return Scores(tuple(sums), tuple(greedy), size, scored_tokens, first if likeliest else ())


def _silent() -> EvaluationError:
    return EvaluationError(
        "the server echoed the log-probabilities of its first prompts, and now of one it does not.",
        "Look into the server's log.",
    )


def _sum(positions: list[Position]) -> tuple[float, bool]:
    """Return the log-likelihood of some tokens (nats), and whether each is the likeliest at its place."""
    total, greedy = 0.0, True
    for position in positions:
        if position.token is None:
            raise EvaluationError("the server gives no log-probability for a token of a continuation.")
        total += position.token.logprob
        greedy &= bool(position.top) and position.token.logprob >= position.top[0].logprob
    return total, greedy
