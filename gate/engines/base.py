"""The border between tasks and engines, in the words of LM Evaluation Harness: loglikelihood, generate_until."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gate.tasks import Message, digest

Progress = Callable[[int], None]
"""Called with the number of requests that were answered since the last call."""


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
        Return the distribution of the token after the context, so many tokens of it; 0 for none.
    reference : Distribution or None
        Return the divergence from it instead.
    """

    context: str
    continuations: tuple[str, ...]
    top: int = 0
    reference: Distribution | None = None


@dataclass(frozen=True)
class LoglikelihoodAnswer:
    """Sums of token log-probabilities (nats), one a continuation, and the tokens that were put in and scored."""

    loglikelihoods: tuple[float, ...]
    tokens_in: int
    tokens_out: int
    distribution: Distribution | None = None
    divergence: Divergence | None = None


@dataclass(frozen=True)
class GenerateRequest:
    """Continue `context` greedily until one of `stop` appears or `max_tokens` are made."""

    context: str
    stop: tuple[str, ...]
    max_tokens: int


@dataclass(frozen=True)
class GenerateAnswer:
    """The generated text, cut before the stop string, and the tokens that were put in and made."""

    text: str
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True)
class ModelIdentity:
    """Which model answers, exactly. Two equal fingerprints mean: the same weights asked the same way.

    Attributes
    ----------
    name : str
        As the user wrote it.
    revision : str or None
        Commit on the hub.
    weights, tokenizer : str
        SHA-256 over the files' contents and names.
    dtype : str
        As asked for; `auto` is the checkpoint's own.
    engine : str
        Engine, its settings that reach the numbers, and versions of the libraries that compute them.
    """

    name: str
    revision: str | None
    weights: str
    tokenizer: str
    dtype: str
    engine: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything but the name."""
        return digest([self.revision, self.weights, self.tokenizer, self.dtype, self.engine])


@dataclass(frozen=True)
class Runtime:
    """What the model ran on, as found after loading; recorded, never compared."""

    device: str
    hardware: str
    dtype: str
    tokenizer: str
    """SHA-256 of the loaded tokenizer's behaviour; baseline and candidate must agree."""
    end_tokens: tuple[int, ...] = ()
    """Ids that end a generated text; baseline and candidate must agree where they generate."""
    versions: dict[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """Something that answers requests."""

    @property
    def runtime(self) -> Runtime:
        """What it runs on."""

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return the prompt that the tokenizer's chat template makes of `messages`."""

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], progress: Progress
    ) -> list[LoglikelihoodAnswer]:
        """Answer all requests, in their order."""

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer all requests, in their order."""
