"""What servers answer, checked and brought into one form: vLLM's, SGLang's and llama.cpp's dialects differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gate.errors import EvaluationError

_ID = re.compile(r"token_id:(\d+)")  # vLLM's form of a token where asked for ids


@dataclass(frozen=True)
class Likely:
    """A token and its log-probability (nats); `id` is None where the server tells only texts."""

    text: str
    id: int | None
    logprob: float


@dataclass(frozen=True)
class Position:
    """One token of a text: how likely it was (None for the very first), and the likeliest at its place."""

    token: Likely | None
    text: str
    top: tuple[Likely, ...]


class _Token(BaseModel):
    token: str
    logprob: float
    id: int | None = None
    top_logprobs: list[_Token] = []


class _Logprobs(BaseModel):
    # OpenAI's older form
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float | None] | None] | None = None
    # the newer form, which llama.cpp uses for both
    content: list[_Token] | None = None


class Usage(BaseModel):
    """Tokens that a server counted."""

    prompt_tokens: int
    completion_tokens: int = 0


class Choice(BaseModel):
    """One generated text."""

    text: str = ""
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None

    @property
    def positions(self) -> list[Position]:
        """The tokens that log-probabilities were given for."""
        found = self.logprobs
        if found is None:
            return []
        if found.content is not None:
            return [_position(one) for one in found.content]
        tops = found.top_logprobs or [None] * len(found.tokens)
        if not len(found.tokens) == len(found.token_logprobs) == len(tops):
            raise EvaluationError(
                f"the server answers with {len(found.tokens)} tokens, {len(found.token_logprobs)} log-probabilities "
                f"and {len(tops)} lists of likeliest tokens; expected as many of each."
            )
        return [
            Position(None if value is None else _likely(text, value), text, _ranked(top or {}))
            for text, value, top in zip(found.tokens, found.token_logprobs, tops, strict=True)
        ]


class Completion(BaseModel):
    """The answer of `/v1/completions`."""

    choices: list[Choice]
    usage: Usage | None = None


class NativeCompletion(BaseModel):
    """The answer of llama.cpp's own `/completion`."""

    completion_probabilities: list[_Token] = []

    @property
    def positions(self) -> list[Position]:
        """The generated tokens."""
        return [_position(one) for one in self.completion_probabilities]


M = TypeVar("M", bound=BaseModel)


def read(model: type[M], answer: Any, route: str) -> M:
    """Check an answer's form.

    Raises
    ------
    EvaluationError
        It has another form; the message names the first place.
    """
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise EvaluationError(
            f"the server answers /{route} in an unexpected form: {place}: {first['msg'].lower()}.",
            "It does not speak OpenAI's protocol here, or a proxy stands between.",
        ) from None


def _position(one: _Token) -> Position:
    top = tuple(Likely(each.token, each.id, each.logprob) for each in one.top_logprobs)
    return Position(Likely(one.token, one.id, one.logprob), one.token, top)


def _likely(text: str, logprob: float) -> Likely:
    match = _ID.fullmatch(text)
    return Likely(text, int(match[1]) if match else None, logprob)


def _ranked(top: dict[str, float | None]) -> tuple[Likely, ...]:
    found = [_likely(text, value) for text, value in top.items() if value is not None]
    return tuple(sorted(found, key=lambda one: -one.logprob))
