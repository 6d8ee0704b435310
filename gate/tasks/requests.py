"""Requests of tasks and answers of engines, named as in LM Evaluation Harness."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

CHAT_DATE = datetime(2024, 7, 26)
"""What a chat template that asks for the date and time is given: the date that Llama 3 templates write without one."""


@dataclass(frozen=True)
class Message:
    """One turn of a chat: its role (`system`, `user` or `assistant`) and its text."""

    role: str
    content: str


Render = Callable[[Sequence[Message]], str]
"""Renders a chat with the model's template. A final assistant turn is left open, so that the model continues it."""


@dataclass(frozen=True)
class Distribution:
    """A model's distribution of the next token: the most likely tokens, and all others in one bucket.

    Attributes
    ----------
    tokens : tuple of int
        The k most likely tokens, most likely first.
    logprobs : tuple of float
        Their log-probabilities (nats), rounded to float16 as in the sample set.
    tail : float
        Total probability of all other tokens.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    tail: float


@dataclass(frozen=True)
class Divergence:
    """Divergence of a model's next-token distribution from a reference.

    Attributes
    ----------
    kl : float
        Kullback-Leibler divergence KL(reference || model) over the reference's top k and its tail, in nats. It is a
        lower bound of the divergence over the whole vocabulary (data processing inequality).
    same_top : bool
        Whether the most likely token is the same.
    """

    kl: float
    same_top: bool


@dataclass(frozen=True)
class LoglikelihoodRequest:
    """Asks for the log-likelihood of each continuation after one context.

    Attributes
    ----------
    top : int
        Number of tokens to return of the distribution after the context (at most the vocabulary); 0 returns none.
    reference : Distribution or None
        If set, the divergence from this distribution is returned instead.
    """

    context: str
    continuations: tuple[str, ...]
    top: int = 0
    reference: Distribution | None = None


@dataclass(frozen=True)
class LoglikelihoodAnswer:
    """The answer to a `LoglikelihoodRequest`.

    Attributes
    ----------
    loglikelihoods : tuple of float
        Sum of token log-probabilities (nats) per continuation.
    tokens_in, tokens_out : int
        Tokens of the prompt, and tokens that were scored.
    greedy : tuple of bool
        Whether greedy decoding gives the continuation, per continuation; empty if the engine does not know.
    """

    loglikelihoods: tuple[float, ...]
    tokens_in: int
    tokens_out: int
    greedy: tuple[bool, ...] = ()
    distribution: Distribution | None = None
    divergence: Divergence | None = None


@dataclass(frozen=True)
class RollingRequest:
    """Asks for the log-likelihood of a whole text, each token given the previous ones (perplexity)."""

    text: str


@dataclass(frozen=True)
class RollingAnswer:
    """The log-likelihood (nats) and the number of tokens of a text."""

    loglikelihood: float
    tokens: int


@dataclass(frozen=True)
class GenerateRequest:
    """Asks for a text that continues `context` until a stop string or `max_tokens` tokens.

    Attributes
    ----------
    temperature : float
        0 decodes greedily; otherwise tokens are sampled from the whole vocabulary.
    seed : int
        Seed of sampling. The same request with the same seed gives the same text in every batch.
    top, reference
        As in `LoglikelihoodRequest`, for the first token of the text, at temperature 1.
    """

    context: str
    stop: tuple[str, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    top: int = 0
    reference: Distribution | None = None


@dataclass(frozen=True)
class GenerateAnswer:
    """The generated text, without the stop string, and the numbers of prompt tokens and generated tokens."""

    text: str
    tokens_in: int
    tokens_out: int
    distribution: Distribution | None = None
    divergence: Divergence | None = None


Request = LoglikelihoodRequest | RollingRequest | GenerateRequest
Answer = LoglikelihoodAnswer | RollingAnswer | GenerateAnswer


def prompt_of(request: Request) -> str:
    """Return the text sent to the model."""
    return request.text if isinstance(request, RollingRequest) else request.context


def draw_seed(seed: int, item_id: str, repeat: int) -> int:
    """Return the seed of one sampled answer to an item, in 31 bits, which every engine accepts."""
    digest = hashlib.sha256(f"{seed}:{item_id}:{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
