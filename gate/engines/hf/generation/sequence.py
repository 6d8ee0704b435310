"""A sequence: the tokens of a prompt and of the text generated after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gate.engines.hf.generation.sampling import noise_key, sample
from gate.engines.hf.model.distribution import distributions
from gate.tasks.requests import Distribution, Divergence, GenerateAnswer, GenerateRequest

_DISTRIBUTION_ROWS = 64  # rows of float32 log-probabilities held at a time
_CONTEXT_TOKENS = 8  # decoded before a possible stop string, so that it starts on a whole character


@dataclass
class TokenSequence:
    """The tokens of one request.

    Attributes
    ----------
    index : int
        Position of the request in its call.
    prompt : tuple of int
        At least one token.
    stop : tuple of str
        Searched for in the generated text only.
    end_tokens : frozenset of int
        Tokens that end the text. They are not part of it.
    noise_key : int
        See `gate.engines.hf.generation.sampling.noise_key`; 0 for greedy decoding.
    generated : list of int
        New tokens, without an end token.
    first_token : Distribution, Divergence or None
        The first new token's distribution, or its divergence from the request's reference; None if not requested.
    """

    index: int
    request: GenerateRequest
    prompt: tuple[int, ...]
    stop: tuple[str, ...]
    end_tokens: frozenset[int]
    noise_key: int
    generated: list[int] = field(default_factory=list)
    first_token: Distribution | Divergence | None = None

    @property
    def tokens(self) -> list[int]:
        """Prompt and generated tokens."""
        return [*self.prompt, *self.generated]

    @property
    def length(self) -> int:
        """Number of `tokens`."""
        return len(self.prompt) + len(self.generated)

    @property
    def max_length(self) -> int:
        """Upper bound of `length`."""
        return len(self.prompt) + self.request.max_tokens

    def answer(self, tokenizer: Any) -> GenerateAnswer:
        """Return the generated text, cut before its first stop string."""
        text = tokenizer.decode(self.generated, skip_special_tokens=True)
        positions = [position for stop in self.stop if (position := text.find(stop)) >= 0]
        return GenerateAnswer(
            text[: min(positions)] if positions else text,
            len(self.prompt),
            len(self.generated),
            self.first_token if isinstance(self.first_token, Distribution) else None,
            self.first_token if isinstance(self.first_token, Divergence) else None,
        )


def make_sequences(
    tokenizer: Any,
    requests: Sequence[GenerateRequest],
    prompts: Sequence[Sequence[int]],
    end_tokens: Sequence[int],
) -> list[TokenSequence]:
    """Return one sequence per request. A stop string that is a special token also becomes an end token."""
    special = {str(token): index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return [
        TokenSequence(
            index,
            request,
            tuple(prompt),
            tuple(stop for stop in request.stop if stop),
            frozenset(end_tokens) | {special[stop] for stop in request.stop if stop in special},
            noise_key(request.seed, prompt) if request.temperature > 0 else 0,
        )
        for index, (request, prompt) in enumerate(zip(requests, prompts, strict=True))
    ]


def sample_next(sequences: Sequence[TokenSequence], logits: torch.Tensor) -> list[int]:
    """Return the next token of each sequence; record the distribution of a first token where a request needs it.

    `logits` is a float32 tensor of shape (sequences, vocabulary). A NaN in it is an EvaluationError.
    """
    tokens = sample(
        logits,
        [sequence.request.temperature for sequence in sequences],
        [sequence.noise_key for sequence in sequences],
        [len(sequence.generated) for sequence in sequences],
    )
    pending = [
        row
        for row, sequence in enumerate(sequences)
        if sequence.first_token is None and (sequence.request.top or sequence.request.reference is not None)
    ]
    for start in range(0, len(pending), _DISTRIBUTION_ROWS):
        rows = pending[start : start + _DISTRIBUTION_ROWS]
        logprobs = torch.log_softmax(logits[rows], dim=1)
        results = distributions(logprobs, [sequences[row].request for row in rows])
        for row, result in zip(rows, results, strict=True):
            sequences[row].first_token = result
    return tokens


def append_tokens(tokenizer: Any, sequences: Sequence[TokenSequence], tokens: Sequence[int]) -> list[bool]:
    """Append a token to each sequence; return whether each sequence is now finished.

    Stop strings are searched for in the last tokens only. A token has at least one byte, so a stop string that ends in
    the newest token spans at most as many tokens as it has bytes.
    """
    finished = []
    for sequence, token in zip(sequences, tokens, strict=True):
        if token in sequence.end_tokens:
            finished.append(True)
            continue
        sequence.generated.append(token)
        finished.append(len(sequence.generated) >= sequence.request.max_tokens)
    searched = [row for row, sequence in enumerate(sequences) if sequence.stop and not finished[row]]
    tails = [
        sequences[row].generated[-max(len(stop.encode()) for stop in sequences[row].stop) - _CONTEXT_TOKENS :]
        for row in searched
    ]
    texts = tokenizer.batch_decode(tails, skip_special_tokens=True) if tails else []
    for row, text in zip(searched, texts, strict=True):
        finished[row] = any(stop in text for stop in sequences[row].stop)
    return finished
