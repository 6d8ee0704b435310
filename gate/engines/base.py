"""The border between tasks and engines, in the words of LM Evaluation Harness: loglikelihood, generate_until."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gate.tasks import Message, digest
from gate.tasks.requests import (
    Distribution,
    Divergence,
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    RollingAnswer,
    RollingRequest,
)

__all__ = [
    "Distribution",
    "Divergence",
    "Engine",
    "GenerateAnswer",
    "GenerateRequest",
    "LoglikelihoodAnswer",
    "LoglikelihoodRequest",
    "ModelIdentity",
    "Progress",
    "RollingAnswer",
    "RollingRequest",
    "Runtime",
]

Progress = Callable[[int], None]
"""Called with the number of requests that were answered since the last call."""


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
        """Return the prompt that the tokenizer's chat template makes of `messages`.

        Where the last turn is the assistant's, the prompt leaves it open, to be gone on with.
        """

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], progress: Progress
    ) -> list[LoglikelihoodAnswer]:
        """Answer all requests, in their order."""

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], progress: Progress
    ) -> list[RollingAnswer]:
        """Answer all requests, in their order."""

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer all requests, in their order."""
