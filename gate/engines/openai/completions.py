"""Requests to `/v1/completions`."""

from __future__ import annotations

import sys
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

    Prompts are sent as the token ids that `tokens` gives; if it is None, as text.
    """

    def __init__(self, client: Client, server: Server, tokens: TokenSource | None) -> None:
        self._client = client
        self.server, self.tokens = server, tokens
        self._max_top = sys.maxsize  # longest list of likely tokens that the server may accept

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
        by_id = self.server.kind == "vllm" and self.tokens is not None and "logprobs" in options
        body = {
            "model": self.server.model,
            "prompt": prompt,
            "max_tokens": 1,
            "temperature": 1,
            "top_p": 1,
            "seed": 0,
        }
        body |= {"return_tokens_as_token_ids": True, **options} if by_id else options
        completion = read(Completion, await self._client.request(_ROUTE, body, attempts), _ROUTE)
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
        usage, positions = completion.usage, completion.choices[0].positions
        count = len(prompt) if isinstance(prompt, list) else usage and usage.prompt_tokens
        return positions[:count] if count and len(positions) >= count else []

    async def likeliest(
        self, prompt: list[int] | str, count: int, attempts: int = ATTEMPTS
    ) -> tuple[tuple[Likely, ...], int | None]:
        """Return up to `count` of the likeliest next tokens, and the number of tokens in the prompt if reported.

        If the server rejects a list of that length, shorter ones are requested.
        """
        length = min(count, self._max_top)
        try:
            completion = await self.complete(prompt, attempts, logprobs=length)
        except RefusedError as error:
            shorter = next((each for each in _TOP_LENGTHS if each < length), None)
            if error.status not in (400, 422) or shorter is None:
                raise
            result = await self.likeliest(prompt, shorter, attempts)
            self._max_top = min(shorter, self._max_top)
            return result
        positions, usage = completion.choices[0].positions, completion.usage
        return (positions[0].top if positions else ()), None if usage is None else usage.prompt_tokens
