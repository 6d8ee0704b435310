"""What tasks ask and engines answer, in the words of LM Evaluation Harness: loglikelihood, rolling, generate_until."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One turn of a chat: role `system`, `user` or `assistant`, and its text."""

    role: str
    content: str


Render = Callable[[Sequence[Message]], str]
"""Makes a chat the prompt that the model's own template gives; a last turn of the assistant is left open to go on."""


@dataclass(frozen=True)
class Distribution:
    """A model's distribution of the next token, the likeliest tokens and the rest in one bucket.

    Attributes
    ----------
    tokens : tuple of int
        The k likeliest, likeliest first.
    logprobs : tuple of float
        Their log-probabilities (nats), rounded to float16 as they are stored.
    tail : float
        Probability of all other tokens together.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    tail: float


@dataclass(frozen=True)
class Divergence:
    """How far a model's next-token distribution is from a reference.

    Attributes
    ----------
    kl : float
        Kullback-Leibler divergence reference || model over the reference's top k and its tail, in nats: a lower bound
        of the divergence over the whole vocabulary (data processing inequality).
    same_top : bool
        Whether both find the same token likeliest.
    """

    kl: float
    same_top: bool


@dataclass(frozen=True)
class LoglikelihoodRequest:
    """How likely is each of `continuations` after `context`? Together, so that an engine can share the context.

    Attributes
    ----------
    context : str
    continuations : tuple of str
    top : int
        Return the distribution of the token after the context, so many tokens of it (at most the vocabulary);
        0 for none.
    reference : Distribution or None
        Return the divergence from it instead.
    """

    context: str
    continuations: tuple[str, ...]
    top: int = 0
    reference: Distribution | None = None


@dataclass(frozen=True)
class LoglikelihoodAnswer:
    """What a log-likelihood request is answered with.

    Attributes
    ----------
    loglikelihoods : tuple of float
        Sums of token log-probabilities (nats), one a continuation.
    tokens_in, tokens_out : int
        Tokens that were put in and scored.
    greedy : tuple of bool
        Whether greedy decoding would give the continuation, one a continuation; empty where the engine cannot tell.
    """

    loglikelihoods: tuple[float, ...]
    tokens_in: int
    tokens_out: int
    greedy: tuple[bool, ...] = ()
    distribution: Distribution | None = None
    divergence: Divergence | None = None


@dataclass(frozen=True)
class RollingRequest:
    """How likely is a whole text, each token given those before it (perplexity)?"""

    text: str


@dataclass(frozen=True)
class RollingAnswer:
    """The text's log-likelihood (nats), and its number of tokens."""

    loglikelihood: float
    tokens: int


@dataclass(frozen=True)
class GenerateRequest:
    """Continue `context` until one of `stop` appears or `max_tokens` are made.

    Attributes
    ----------
    context : str
    stop : tuple of str
    max_tokens : int
    temperature : float
        0 is greedy; otherwise tokens are drawn at this temperature from the whole vocabulary.
    seed : int
        Of the draws; the same request with the same seed gives the same text, whatever is in the batch with it.
    top, reference
        As of `LoglikelihoodRequest`: the distribution of the text's first token, before any temperature.
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
    """The generated text, cut before the stop string, and the tokens that were put in and made."""

    text: str
    tokens_in: int
    tokens_out: int
    distribution: Distribution | None = None
    divergence: Divergence | None = None


Request = LoglikelihoodRequest | RollingRequest | GenerateRequest
Answer = LoglikelihoodAnswer | RollingAnswer | GenerateAnswer


def prompt_of(request: Request) -> str:
    """Return the text that the model is given before it answers."""
    return request.text if isinstance(request, RollingRequest) else request.context


def draw_seed(seed: int, item_id: str, repeat: int) -> int:
    """Return the seed (31 bits, which every engine takes) of one sampled answer to an item."""
    digest = hashlib.sha256(f"{seed}:{item_id}:{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
