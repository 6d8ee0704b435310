"""A text in progress: what was asked, what is written, and whether it has come to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gate.engines.base import Distribution, Divergence, GenerateAnswer, GenerateRequest
from gate.engines.hf.generation.next_token import key_of
from gate.engines.hf.model.distribution import asked

_ROWS_AT_ONCE = 64  # rows of log-probabilities that are held at a time, in float32
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
    first : Distribution, Divergence or None
        What the request asks about the first token, once it is there.
    """

    index: int
    request: GenerateRequest
    prompt: tuple[int, ...]
    stop: tuple[str, ...]
    ends: frozenset[int]
    key: int
    made: list[int] = field(default_factory=list)
    first: Distribution | Divergence | None = None

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
        return len(self.prompt) + self.request.max_tokens

    def answer(self, tokenizer: Any) -> GenerateAnswer:
        """Return the text so far, cut before its first stop string."""
        text = tokenizer.decode(self.made, skip_special_tokens=True)
        places = [place for one in self.stop if (place := text.find(one)) >= 0]
        return GenerateAnswer(
            text[: min(places)] if places else text,
            len(self.prompt),
            len(self.made),
            self.first if isinstance(self.first, Distribution) else None,
            self.first if isinstance(self.first, Divergence) else None,
        )


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
            request,
            tuple(prompt),
            tuple(stop for stop in request.stop if stop),
            frozenset(ends) | {special[stop] for stop in request.stop if stop in special},
            key_of(request.seed, prompt) if request.temperature > 0 else 0,
        )
        for index, (request, prompt) in enumerate(zip(requests, prompts, strict=True))
    ]


def measure(rows: Sequence[Writing], scores: torch.Tensor) -> None:
    """Note what is asked about the first tokens, for the rows that are about to get theirs.

    Parameters
    ----------
    scores : float32 tensor of shape (rows, vocabulary)
        Logits of each row's next token.
    """
    new = [
        place
        for place, row in enumerate(rows)
        if row.first is None and (row.request.top or row.request.reference is not None)
    ]
    for start in range(0, len(new), _ROWS_AT_ONCE):
        places = new[start : start + _ROWS_AT_ONCE]
        logprobs = torch.log_softmax(scores[places], dim=1)
        found = asked(logprobs, [rows[place].request for place in places])
        for place, one in zip(places, found, strict=True):
            rows[place].first = one


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
        ended.append(len(row.made) >= row.request.max_tokens)
    watched = [number for number, row in enumerate(rows) if row.stop and not ended[number]]
    tails = [
        rows[number].made[-max(len(one.encode()) for one in rows[number].stop) - _WHOLE_CHARACTERS :]
        for number in watched
    ]
    texts = tokenizer.batch_decode(tails, skip_special_tokens=True) if tails else []
    for number, text in zip(watched, texts, strict=True):
        ended[number] = any(one in text for one in rows[number].stop)
    return ended
