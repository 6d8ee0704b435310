"""A text in progress: what was asked, what is written, and whether it has come to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gate.engines.base import GenerateAnswer, GenerateRequest
from gate.engines.hf.choose import key_of

_WHOLE_CHARACTERS = 8  # tokens before a stop string that give the decoder whole characters to start with


@dataclass
class Writing:
    """One request on its way.

    Attributes
    ----------
    index : int
        Of the request in its call.
    prompt : tuple of int
        At least one token.
    stop : tuple of str
        Looked for in the new text only.
    ends : frozenset of int
        Tokens that end the text and are no part of it.
    made : list of int
        New tokens, without an end.
    """

    index: int
    prompt: tuple[int, ...]
    stop: tuple[str, ...]
    ends: frozenset[int]
    max_tokens: int
    temperature: float
    key: int
    made: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> list[int]:
        """Prompt and new tokens."""
        return [*self.prompt, *self.made]

    @property
    def length(self) -> int:
        """Number of `tokens`."""
        return len(self.prompt) + len(self.made)

    @property
    def longest(self) -> int:
        """What `length` can become."""
        return len(self.prompt) + self.max_tokens

    def answer(self, tokenizer: Any) -> GenerateAnswer:
        """Return the text so far, cut before its first stop string."""
        text = tokenizer.decode(self.made, skip_special_tokens=True)
        places = [place for one in self.stop if (place := text.find(one)) >= 0]
        return GenerateAnswer(text[: min(places)] if places else text, len(self.prompt), len(self.made))


def writings(
    tokenizer: Any,
    requests: Sequence[GenerateRequest],
    prompts: Sequence[Sequence[int]],
    ends: Sequence[int],
) -> list[Writing]:
    """Begin the texts. A stop string that is a special token of the tokenizer ends a text like its own ends."""
    special = {
        str(token): number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    return [
        Writing(
            index,
            tuple(prompt),
            tuple(stop for stop in request.stop if stop),
            frozenset(ends) | {special[stop] for stop in request.stop if stop in special},
            request.max_tokens,
            request.temperature,
            key_of(request.seed, prompt) if request.temperature > 0 else 0,
        )
        for index, (request, prompt) in enumerate(zip(requests, prompts, strict=True))
    ]


def extend(tokenizer: Any, rows: Sequence[Writing], tokens: Sequence[int]) -> list[bool]:
    """Write each row's next token and tell which rows are at their end by it.

    Only the last tokens are decoded: a token is at least a byte, so a stop string that ends in the newest token
    lies in as many tokens as it has bytes.
    """
    ended = []
    for row, token in zip(rows, tokens, strict=True):
        if token in row.ends:
            ended.append(True)
            continue
        row.made.append(token)
        ended.append(len(row.made) >= row.max_tokens)
    watched = [number for number, row in enumerate(rows) if row.stop and not ended[number]]
    tails = [
        rows[number].made[-max(len(one.encode()) for one in rows[number].stop) - _WHOLE_CHARACTERS :]
        for number in watched
    ]
    texts = tokenizer.batch_decode(tails, skip_special_tokens=True) if tails else []
    for number, text in zip(watched, texts, strict=True):
        ended[number] = any(one in text for one in rows[number].stop)
    return ended
