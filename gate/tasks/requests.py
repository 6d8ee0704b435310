"""Requests of tasks and answers of engines, named as in LM Evaluation Harness."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from gate.tasks.chat import Message
from gate.tasks.reasoning import ReasoningTags


@dataclass(frozen=True)
class Distribution:
    """What is stored of a model's distribution of the next token.

    Attributes
    ----------
    tokens : tuple of int
        The k most likely tokens, most likely first.
    logprobs : tuple of float
        Their log-probabilities (nats), rounded to float16 as in the sample set.
    tail : float
        Total probability of all other tokens; 0 if the distribution is whole.
    drawn, drawn_logprobs : tuple of int, tuple of float
        Tokens drawn from all others in proportion to their probability, independently, and their log-probabilities.
    position : int
        Number of the answer's tokens before the token.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    tail: float
    drawn: tuple[int, ...] = ()
    drawn_logprobs: tuple[float, ...] = ()
    position: int = 0

    @property
    def ids(self) -> tuple[int, ...]:
        """All stored tokens, each once."""
        return tuple(dict.fromkeys((*self.tokens, *self.drawn)))


@dataclass(frozen=True)
class Divergence:
    """Divergence of a model's next-token distribution from a reference.

    Attributes
    ----------
    kl : float
        Kullback-Leibler divergence KL(reference || model) over the whole vocabulary, in nats: an unbiased estimate, or
        a lower bound.
    same_top : bool
        Whether the most likely token is the same.
    variance : float or None
        Variance of the estimate over the drawn tokens (squared nats), 0 for a whole distribution. None: `kl` is a lower
        bound, over the reference's top k and one bucket for the rest (data processing inequality).
    position : int
        As in `Distribution`.
    """

    kl: float
    same_top: bool
    variance: float | None = None
    position: int = 0


@dataclass(frozen=True)
class Later:
    """Asks for distributions at positions of an answer after its first token.

    Attributes
    ----------
    most : int
        Most positions, the first token's included; see `gate.tasks.positions.chosen_positions`.
    references : tuple of Distribution
        If set, the divergence from each at its position is returned instead.
    followed : int
        Index of the continuation whose positions are meant.
    """

    most: int = 1
    references: tuple[Distribution, ...] = ()
    followed: int = 0


FIRST_ONLY = Later()
"""Only the distribution of an answer's first token."""


@dataclass(frozen=True)
class LoglikelihoodRequest:
    """Asks for the log-likelihood of each continuation after one context.

    Attributes
    ----------
    top : int
        Number of tokens to return of the distribution after the context (at most the vocabulary); 0 returns none.
    reference : Distribution or None
        If set, the divergence from this distribution is returned instead.
    drawn : int
        Number of tokens to draw from the rest of the distribution.
    later : Later
        Further positions whose distribution or divergence is returned.
    ids : tuple of int
        If set, the tokens of a single continuation, which is not given as text. Its distributions are returned, and no
        log-likelihood.
    """

    context: str
    continuations: tuple[str, ...]
    top: int = 0
    reference: Distribution | None = None
    drawn: int = 0
    later: Later = FIRST_ONLY
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Along:
    """Distributions along an answer or text.

    Attributes
    ----------
    tokens : int
        Length of the answer or text: number of its positions.
    distributions, divergences : tuple
        One of them per position after the first one, by position; the other is empty.
    """

    tokens: int
    distributions: tuple[Distribution, ...] = ()
    divergences: tuple[Divergence, ...] = ()


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
    along : Along or None
        What the request's `later` asks for; None if the engine does not return it.
    """

    loglikelihoods: tuple[float, ...]
    tokens_in: int
    tokens_out: int
    greedy: tuple[bool, ...] = ()
    distribution: Distribution | None = None
    divergence: Divergence | None = None
    along: Along | None = None


@dataclass(frozen=True)
class RollingRequest:
    """Asks for the log-likelihood of a whole text, each token given the previous ones (perplexity).

    Attributes
    ----------
    context : str
        Text before it, which is read and not scored.
    top, reference, drawn, later
        As in `LoglikelihoodRequest`, for the positions of the text.
    """

    text: str
    context: str = ""
    top: int = 0
    reference: Distribution | None = None
    drawn: int = 0
    later: Later = FIRST_ONLY


@dataclass(frozen=True)
class RollingAnswer:
    """The log-likelihood (nats) and the number of tokens of a text.

    Attributes
    ----------
    token_logprobs : tuple of float
        Log-probability of each token (nats); empty if the engine does not return them.
    distribution, divergence, along
        As in `LoglikelihoodAnswer`.
    """

    loglikelihood: float
    tokens: int
    token_logprobs: tuple[float, ...] = ()
    distribution: Distribution | None = None
    divergence: Divergence | None = None
    along: Along | None = None


@dataclass(frozen=True)
class GenerateRequest:
    """Asks for a text that continues `context` until a stop string or `max_tokens` tokens.

    Attributes
    ----------
    context : str
        The prompt. Empty if `messages` are sent and only the server can render them.
    temperature : float
        0 decodes greedily; otherwise tokens are sampled.
    seed : int
        Seed of sampling. The same request with the same seed gives the same text in every batch.
    top, drawn, reference
        As in `LoglikelihoodRequest`, for the first token of the text, at temperature 1.
    top_k, top_p, min_p, repetition_penalty
        As in transformers: the penalty on tokens of prompt and text, then the temperature, then the tokens from which
        is sampled, in this order. 0, 1, 0 and 1 have no effect.
    messages : tuple of Message
        The chat, if it is sent to a server's chat route; empty otherwise.
    template_kwargs : str
        See `ChatFormat`; for `messages`.
    reasoning : ReasoningTags or None
        If set, the reasoning is separated from the text. Stop strings then end the answer, not the reasoning.
    """

    context: str
    stop: tuple[str, ...]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    top: int = 0
    reference: Distribution | None = None
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    messages: tuple[Message, ...] = ()
    template_kwargs: str = "{}"
    reasoning: ReasoningTags | None = None
    drawn: int = 0


FinishReason = Literal["stop", "length"]
"""Why a text ended: by an end of text or a stop string, or by its greatest length."""


@dataclass(frozen=True)
class GenerateAnswer:
    """The generated text, without the stop string, and the numbers of prompt tokens and generated tokens.

    Attributes
    ----------
    finish_reason : {"stop", "length"} or None
        None if the server does not tell.
    reasoning, reasoning_closed
        See `gate.tasks.reasoning.Separated`; the text is the answer.
    tokens : tuple of int
        The generated tokens; empty if the engine does not return them.
    """

    text: str
    tokens_in: int
    tokens_out: int
    distribution: Distribution | None = None
    divergence: Divergence | None = None
    finish_reason: FinishReason | None = None
    reasoning: str | None = None
    reasoning_closed: bool | None = None
    tokens: tuple[int, ...] = ()


Request = LoglikelihoodRequest | RollingRequest | GenerateRequest
Answer = LoglikelihoodAnswer | RollingAnswer | GenerateAnswer


def prompt_of(request: Request) -> str | None:
    """Return the text that the model reads; None if a server renders it and does not show it."""
    if isinstance(request, GenerateRequest) and request.messages and not request.context:
        return None
    return request.context + request.text if isinstance(request, RollingRequest) else request.context


def draw_seed(seed: int, item_id: str, repeat: int) -> int:
    """Return the seed of one sampled answer to an item, in 31 bits, which every engine accepts."""
    digest = hashlib.sha256(f"{seed}:{item_id}:{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
