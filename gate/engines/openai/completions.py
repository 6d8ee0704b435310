"""Requests to `/v1/completions`."""

from __future__ import annotations

from typing import Any

from gate.engines.openai.client import ATTEMPTS, Client, RefusedError
from gate.engines.openai.server import Server
from gate.engines.openai.tokens import TokenSource
from gate.engines.openai.wire import Completion, Likely, Position, read
from gate.errors import EvaluationError

_ROUTE = "v1/completions"
_TOP_LENGTHS = (20, 5, 1)  # common upper bounds of `logprobs`


class Completions:
    """The completions that scoring and generation request.

    Parameters
    ----------
    client : Client
    server : Server
    tokens : TokenSource or None
        Prompts are sent as token ids from this source; with None, they are sent as text.
    """

    def __init__(self, client: Client, server: Server, tokens: TokenSource | None) -> None:
        self._client, self._server = client, server
        self.tokens = tokens
        self._max_top: int | None = None

    async def prompt(self, text: str) -> list[int] | str:
        """Return a text in the form in which prompts are sent."""
        return text if self.tokens is None else (await self.tokens.encode([text]))[0]

    async def complete(self, prompt: list[int] | str, attempts: int = ATTEMPTS, **options: Any) -> Completion:
        """Request a completion, by default of one token at temperature 1.

        At temperature 0 some servers return log-probabilities computed after sampling.

        Raises
        ------
        EvaluationError
            The request fails, or the reply holds no choice.
        """
        # vLLM: name tokens by id, so that they can be compared with the baseline's
        by_id = self._server.kind == "vllm" and self.tokens is not None and "logprobs" in options
        body = {
            "model": self._server.model,
            "prompt": prompt,
            "max_tokens": 1,
            "temperature": 1,
            "top_p": 1,
            "seed": 0,
            **({"return_tokens_as_token_ids": True} if by_id else {}),
            **options,
        }
        completion = read(Completion, await self._client.post(_ROUTE, body, attempts), _ROUTE)
        if not completion.choices:
            raise EvaluationError(f"the server answers /{_ROUTE} without a choice.")
        return completion

    async def accepted(self) -> bool:
        """Return whether the server accepts prompts in this form; some reject token ids with status 500."""
        try:
            await self.complete(await self.prompt("The"), attempts=1)
        except EvaluationError:
            return False
        return True

    async def echo(self, prompt: list[int] | str, attempts: int = ATTEMPTS) -> list[Position]:
        """Return the prompt's tokens with their log-probabilities, or nothing if the server does not echo them."""
        completion = await self.complete(prompt, attempts, echo=True, logprobs=1)
        usage = completion.usage
        count = len(prompt) if isinstance(prompt, list) else usage and usage.prompt_tokens
        positions = completion.choices[0].positions
        return positions[:count] if count and len(positions) >= count else []

    async def likeliest(
        self, prompt: list[int] | str, count: int, attempts: int = ATTEMPTS
    ) -> tuple[tuple[Likely, ...], int | None]:
        """Return up to `count` of the likeliest next tokens, and the number of tokens in the prompt if reported.

        If the server rejects a list of that length, shorter ones are requested.
        """
        longest = min(count, self._max_top or count)
        for length in dict.fromkeys([longest, *(length for length in _TOP_LENGTHS if length < count)]):
            try:
                completion = await self.complete(prompt, attempts, logprobs=length)
            except RefusedError as error:
                if error.status not in (400, 422) or length == _TOP_LENGTHS[-1]:
                    raise
                continue
            self._max_top = length
            positions = completion.choices[0].positions
            usage = completion.usage
            return (positions[0].top if positions else ()), None if usage is None else usage.prompt_tokens
        return (), None
