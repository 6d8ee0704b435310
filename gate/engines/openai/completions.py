"""Requests to `/v1/completions`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from gate.engines.openai.batches import by_tokens
from gate.engines.openai.client import ATTEMPTS, Client, RefusedError
from gate.engines.openai.server import Server
from gate.engines.openai.tokens import TokenSource
from gate.engines.openai.wire import Choice, Completion, Likely, Position, read
from gate.errors import EvaluationError

_ROUTE = "v1/completions"
_TOLERANCE = 0.25  # nats: a batch of two sums in another order
_TOP_LENGTHS = (20, 5, 1)  # common upper bounds of `logprobs`


class Completions:
    """The completions that scoring and generation request.

    Prompts are sent as the token ids that `tokens` gives; if it is None, as text. `many` tells whether the server
    accepts many prompts per request.
    """

    def __init__(self, client: Client, server: Server, tokens: TokenSource | None, many: bool = False) -> None:
        self._client = client
        self.server, self.tokens, self.many = server, tokens, many
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
        completion = await self._request(prompt, attempts, options)
        if not completion.choices:
            raise EvaluationError(f"the server answers /{_ROUTE} without a choice.")
        return completion

    async def complete_each(
        self, prompts: Sequence[Sequence[int]], attempts: int = ATTEMPTS, **options: Any
    ) -> list[Choice]:
        """Return the completion of each prompt, with many prompts per request if the server accepts that.

        A request with several prompts that the server refuses is repeated with one prompt per request.

        Raises
        ------
        EvaluationError
            A request fails, or a reply does not have one choice per prompt.
        """
        choices: list[Choice] = []
        for group in by_tokens(prompts, self.many):
            batch = [list(prompts[index]) for index in group]
            try:
                choices += await self._choices(batch, attempts, options)
            except RefusedError:
                if len(batch) == 1:
                    raise
                for prompt in batch:
                    choices += await self._choices([prompt], attempts, options)
        return choices

    async def _choices(self, prompts: list[list[int]], attempts: int, options: dict[str, Any]) -> list[Choice]:
        single = len(prompts) == 1
        choices = (await self._request(prompts[0] if single else prompts, attempts, options)).choices
        if len(choices) != len(prompts):
            raise EvaluationError(f"the server answers {len(prompts)} prompts with {len(choices)} choices.")
        if single:
            return choices
        places = {choice.index: choice for choice in choices}
        if set(places) != set(range(len(prompts))):
            raise EvaluationError("the server does not number the choices of a request with several prompts.")
        return [places[place] for place in range(len(prompts))]

    async def _request(
        self, prompt: list[int] | list[list[int]] | str, attempts: int, options: dict[str, Any]
    ) -> Completion:
        # No seed: the token does not matter, and vLLM 0.32 on a processor dies of a seed if it divides the prompt.
        # vLLM: name tokens by id, so that they can be compared with the baseline's
        by_id = self.server.kind == "vllm" and self.tokens is not None and "logprobs" in options
        body = {
            "model": self.server.model,
            "prompt": prompt,
            "max_tokens": 1,
            "temperature": 1,
            "top_p": 1,
        }
        body |= {"return_tokens_as_token_ids": True, **options} if by_id else options
        return read(Completion, await self._client.request(_ROUTE, body, attempts), _ROUTE)

    async def accepted(self) -> bool:
        """Return whether the server accepts prompts in this form; some reject token ids with status 500."""
        try:
            await self.complete(await self.prompt("The"), attempts=1)
        except EvaluationError:
            return False
        return True

    async def accepts_many(self, texts: Sequence[str]) -> bool:
        """Return whether the server answers two prompts of token ids in one request as in two."""
        prompts = [ids for ids in [await self.prompt(text) for text in texts[:2]] if isinstance(ids, list)]
        try:
            choices = [
                *await self._choices(prompts, 1, {"logprobs": 1}),
                *[choice for prompt in prompts for choice in await self._choices([prompt], 1, {"logprobs": 1})],
            ]
            best = [choice.between(0, 1)[0].top[0].logprob for choice in choices]
        except (EvaluationError, IndexError):
            return False
        return len(best) == 4 and all(abs(best[place] - best[place + 2]) <= _TOLERANCE for place in (0, 1))

    async def generated(self, prompt: list[int] | str, length: int) -> tuple[list[Position], str]:
        """Return the tokens that the server generates at temperature 1, and their text."""
        choice = (await self.complete(prompt, max_tokens=length, logprobs=1, seed=0)).choices[0]
        return choice.positions, choice.text

    async def echo(self, prompt: list[int] | str, attempts: int = ATTEMPTS) -> list[Position]:
        """Return the prompt's tokens with their log-probabilities, or nothing if the server does not echo them."""
        completion = await self.complete(prompt, attempts, echo=True, logprobs=1)
        usage, positions = completion.usage, completion.choices[0].positions
        count = len(prompt) if isinstance(prompt, list) else usage and usage.prompt_tokens
        return positions[:count] if count and len(positions) >= count else []

    async def echo_each(self, prompts: Sequence[Sequence[int]], starts: Sequence[int]) -> list[list[Position]]:
        """Return the tokens of each prompt from a position on, with their log-probabilities.

        Raises
        ------
        EvaluationError
            A request fails, or a reply does not have the log-probabilities of the prompt's tokens.
        """
        choices = await self.complete_each(prompts, echo=True, logprobs=1)
        echoes = []
        for choice, prompt, start in zip(choices, prompts, starts, strict=True):
            positions = choice.between(start, len(prompt))
            if len(positions) != len(prompt) - start:
                raise EvaluationError(
                    "the server echoed the log-probabilities of earlier prompts, but not of this one.",
                    "Check the server's log.",
                )
            wrong = choice.echoes(prompt)
            if wrong is not None:
                raise EvaluationError(
                    f"the server echoes {choice.between(wrong, wrong + 1)[0].text} in place of token {prompt[wrong]} "
                    "of the prompt.",
                    "It changes token ids; set `tokenizer:` to the served model's own.",
                )
            echoes.append(positions)
        return echoes

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
            shorter = self._shorter(error, length)
            result = await self.likeliest(prompt, shorter, attempts)
            self._max_top = min(shorter, self._max_top)
            return result
        positions, usage = completion.choices[0].positions, completion.usage
        return (positions[0].top if positions else ()), None if usage is None else usage.prompt_tokens

    async def likeliest_each(self, prompts: Sequence[Sequence[int]], count: int) -> list[tuple[Likely, ...]]:
        """Return up to `count` of the likeliest next tokens after each prompt; see `likeliest`."""
        length = min(count, self._max_top)
        try:
            choices = await self.complete_each(prompts, logprobs=length)
        except RefusedError as error:
            shorter = self._shorter(error, length)
            result = await self.likeliest_each(prompts, shorter)
            self._max_top = min(shorter, self._max_top)
            return result
        return [positions[0].top if (positions := choice.positions) else () for choice in choices]

    @staticmethod
    def _shorter(error: RefusedError, length: int) -> int:
        """Return a shorter length of a list; raise the error if there is none."""
        shorter = next((each for each in _TOP_LENGTHS if each < length), None)
        if error.status not in (400, 422) or shorter is None:
            raise error
        return shorter
