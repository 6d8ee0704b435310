"""Replies of servers, validated and converted to one form: the dialects of vLLM, SGLang and llama.cpp differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from gate.errors import EvaluationError

_ID = re.compile(r"token_id:([0-9]{1,10})")  # vLLM's notation of a token id
_LISTS = ("tokens", "token_logprobs", "top_logprobs", "content")

_ROUNDING = 0.01  # nats above 0 that rounding may cause


def _logprob(value: float) -> float:
    if not value <= _ROUNDING:
        raise ValueError("a log-probability is at most 0")
    return value


Logprob = Annotated[float, AfterValidator(_logprob)]
TokenId = Annotated[int, Field(ge=-1, lt=2**31)]
Count = Annotated[int, Field(ge=0, le=10_000_000)]


@dataclass(frozen=True)
class Likely:
    """A token and its log-probability (nats); `id` is None if the server reports only the text."""

    text: str
    id: int | None
    logprob: float


@dataclass(frozen=True)
class Position:
    """One position of a text: its token, and the likeliest tokens, likeliest first.

    `token` is None for the first token of a text, which has no log-probability.
    """

    token: Likely | None
    text: str
    top: tuple[Likely, ...]


class Token(BaseModel):
    """A token, and the likeliest tokens at its position."""

    token: str
    logprob: Logprob
    id: TokenId | None = None
    top_logprobs: list[Token] = []

    @property
    def likely(self) -> Likely:
        """The token as a `Likely`, without its alternatives."""
        return Likely(self.token, self.id, self.logprob)

    @property
    def top(self) -> tuple[Likely, ...]:
        """The likeliest tokens, likeliest first."""
        return tuple(token.likely for token in self.top_logprobs)


class _Logprobs(BaseModel):
    # OpenAI's older form
    tokens: list[str] = []
    token_logprobs: list[Logprob | None] = []
    top_logprobs: list[dict[str, Logprob | None] | None] | None = None
    # the newer form, which llama.cpp uses for both
    content: list[Token] | None = None

    @property
    def positions(self) -> list[Position]:
        """The tokens that have log-probabilities."""
        if self.content is not None:
            return [Position(token.likely, token.token, token.top) for token in self.content]
        tops = self.top_logprobs or [None] * len(self.tokens)
        if not len(self.tokens) == len(self.token_logprobs) == len(tops):
            raise EvaluationError(
                f"the server answers with {len(self.tokens)} tokens, {len(self.token_logprobs)} "
                f"log-probabilities and {len(tops)} lists of likeliest tokens; expected equal numbers."
            )
        return [
            Position(None if value is None else _likely(text, value), text, _ranked(top or {}))
            for text, value, top in zip(self.tokens, self.token_logprobs, tops, strict=True)
        ]


class Usage(BaseModel):
    """The server's token counts."""

    prompt_tokens: Count
    completion_tokens: Count = 0


class Choice(BaseModel):
    """One generated text. Its log-probabilities are validated where they are used: an echo has thousands."""

    text: str = ""
    index: Count | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None

    @property
    def positions(self) -> list[Position]:
        """The tokens that have log-probabilities."""
        return self.between(0, None)

    def between(self, start: int, stop: int | None) -> list[Position]:
        """Return the tokens at some positions, from `start` to before `stop`."""
        if self.logprobs is None:
            return []
        part = {key: self.logprobs.get(key) for key in _LISTS}
        lengths = {len(value) for value in part.values() if isinstance(value, list)}
        if len(lengths) == 1:  # otherwise the whole is validated, for an error that names what is wrong
            part = {key: value[start:stop] if isinstance(value, list) else value for key, value in part.items()}
            start, stop = 0, None
        filled = {key: value for key, value in part.items() if value is not None}
        return read(_Logprobs, filled, "v1/completions").positions[start:stop]

    def echoes(self, ids: Sequence[int]) -> int | None:
        """Return the first position whose token is not that of `ids`; None if all agree, or no ids are named."""
        names = (self.logprobs or {}).get("tokens")
        if not isinstance(names, list) or not names or not isinstance(names[0], str) or not _ID.fullmatch(names[0]):
            return None
        expected = list(map("token_id:{}".format, ids))
        if names[: len(ids)] == expected:
            return None
        return next((place for place, name in enumerate(expected) if names[place : place + 1] != [name]), None)


class Completion(BaseModel):
    """Reply of `/v1/completions`."""

    choices: list[Choice]
    usage: Usage | None = None


class NativeCompletion(BaseModel):
    """Reply of llama.cpp's own `/completion`."""

    completion_probabilities: list[Token] = []


M = TypeVar("M", bound=BaseModel)


def read(model: type[M], reply: Any, route: str) -> M:
    """Validate a reply.

    Raises
    ------
    EvaluationError
        It has another form; the message names the first mismatch.
    """
    try:
        return model.model_validate(reply)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(map(str, first["loc"])) or "the whole"
        raise EvaluationError(
            f"the server answers /{route} in an unexpected form: {location}: {first['msg'].lower()}.",
            "The route does not follow OpenAI's protocol, or a proxy changes the reply.",
        ) from None


def _likely(text: str, logprob: float) -> Likely:
    match = _ID.fullmatch(text)
    return Likely(text, int(match[1]) if match else None, logprob)


def _ranked(top: dict[str, float | None]) -> tuple[Likely, ...]:
    tokens = [_likely(text, value) for text, value in top.items() if value is not None]
    return tuple(sorted(tokens, key=lambda token: -token.logprob))
