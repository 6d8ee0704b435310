"""A sequence: the tokens of a prompt and of the text generated after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gate.engines.hf.generation.reasoning import ReasoningTracker, search_window
from gate.engines.hf.generation.sampling import noise_key, processed, sample
from gate.engines.hf.model.distribution import Place, distributions
from gate.tasks.reasoning import Separated
from gate.tasks.requests import Distribution, Divergence, GenerateAnswer, GenerateRequest

_DISTRIBUTION_ROWS = 64  # rows of float32 log-probabilities held at a time


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
    ended : bool
        Whether an end token or a stop string ended the text.
    reasoning : ReasoningTracker or None
        None if the request separates no reasoning.
    """

    index: int
    request: GenerateRequest
    prompt: tuple[int, ...]
    stop: tuple[str, ...]
    end_tokens: frozenset[int]
    noise_key: int
    generated: list[int] = field(default_factory=list)
    first_token: Distribution | Divergence | None = None
    ended: bool = False
    reasoning: ReasoningTracker | None = None

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
        """Return the generated text, without its reasoning, cut before its first stop string."""
        if self.reasoning is None:
            separated = Separated(tokenizer.decode(self.generated, skip_special_tokens=True), None, None)
        else:
            separated = self.reasoning.separated(tokenizer, self.generated)
        text = separated.answer
        positions = [position for stop in self.stop if (position := text.find(stop)) >= 0]
        return GenerateAnswer(
            text[: min(positions)] if positions else text,
            len(self.prompt),
            len(self.generated),
            self.first_token if isinstance(self.first_token, Distribution) else None,
            self.first_token if isinstance(self.first_token, Divergence) else None,
            "stop" if self.ended or positions else "length",
            separated.reasoning,
            separated.closed,
            tuple(self.generated),
        )


def make_sequences(
    tokenizer: Any,
    requests: Sequence[GenerateRequest],
    prompts: Sequence[Sequence[int]],
    end_tokens: Sequence[int],
) -> list[TokenSequence]:
    """Return one sequence per request. A stop string that is a special token, and no tag, also becomes an end token."""
    special = {str(token): index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return [
        TokenSequence(
            index,
            request,
            tuple(prompt),
            tuple(stop for stop in request.stop if stop),
            frozenset(end_tokens)
            | {special[stop] for stop in request.stop if stop in special and stop not in _tags(request)},
            noise_key(request.seed, prompt) if request.temperature > 0 else 0,
            reasoning=ReasoningTracker.of(request.reasoning, request.context, special) if request.reasoning else None,
        )
        for index, (request, prompt) in enumerate(zip(requests, prompts, strict=True))
    ]


def _tags(request: GenerateRequest) -> tuple[str, ...]:
    return () if request.reasoning is None else (request.reasoning.start, request.reasoning.end)


def sample_next(sequences: Sequence[TokenSequence], logits: torch.Tensor) -> list[int]:
    """Return the next token of each sequence; record the distribution of a first token where a request needs it.

    `logits` is a float32 tensor of shape (sequences, vocabulary). A NaN in it is an EvaluationError.
    """
    tokens = sample(
        processed(logits, [sequence.request for sequence in sequences], lambda row: sequences[row].tokens),
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
        results = distributions(logprobs, [Place.first(sequences[row].request) for row in rows])
        for row, result in zip(rows, results, strict=True):
            sequences[row].first_token = result
    return tokens


def append_tokens(tokenizer: Any, sequences: Sequence[TokenSequence], tokens: Sequence[int]) -> list[bool]:
    """Append a token to each sequence; return whether each sequence is now finished.

    Stop strings are searched for in the last tokens only, and not in reasoning.
    """
    finished = []
    for sequence, token in zip(sequences, tokens, strict=True):
        sequence.ended = token in sequence.end_tokens
        if not sequence.ended:
            sequence.generated.append(token)
        finished.append(sequence.ended or len(sequence.generated) >= sequence.request.max_tokens)
    searched = [sequence for sequence, done in zip(sequences, finished, strict=True) if sequence.stop and not done]
    plain = [sequence for sequence in searched if sequence.reasoning is None]
    tails = [sequence.generated[-search_window(sequence.stop) :] for sequence in plain]
    texts = tokenizer.batch_decode(tails, skip_special_tokens=True) if tails else []
    for sequence, text in zip(plain, texts, strict=True):
        sequence.ended = any(stop in text for stop in sequence.stop)
    for sequence in searched:
        if sequence.reasoning is not None:
            sequence.ended = sequence.reasoning.stops(tokenizer, sequence.generated, sequence.stop)
    return [sequence.ended or done for sequence, done in zip(sequences, finished, strict=True)]
