"""The interface between tasks and engines, in the terms of LM Evaluation Harness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gate.common.canonical import digest
from gate.tasks.chat import TEMPLATE_ONLY, ChatFormat, Message
from gate.tasks.requests import (
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    RollingAnswer,
    RollingRequest,
)

Progress = Callable[[int], None]
"""Called with the number of requests answered since the last call."""


@dataclass(frozen=True)
class ModelIdentity:
    """The identity of a model. Equal fingerprints mean the same weights, computed in the same way.

    Attributes
    ----------
    name : str
        As the user wrote it.
    revision : str or None
        Commit on the hub.
    weights, tokenizer : str
        SHA-256 of the files' names and contents.
    dtype : str
        As requested; `auto` is the checkpoint's own.
    engine : str
        The engine, its settings that affect the numbers, and the versions of the libraries that compute them.
    load_quantization : str
        The quantisation that gate.yml asks for on loading; empty if the weights are loaded as they are stored.
    adapter : str
        SHA-256 of the adapter's files, and the version of peft; empty without an adapter.
    control : str
        Set for a control run of the baseline: digest of its stack and batches. Empty for an ordinary run.
    """

    name: str
    revision: str | None
    weights: str
    tokenizer: str
    dtype: str
    engine: str
    control: str = ""
    load_quantization: str = ""
    adapter: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything but the name."""
        parts = [self.revision, self.weights, self.tokenizer, self.dtype, self.engine]
        # what is not set leaves no trace, so that fingerprints of older versions stay valid
        on_load = {key: getattr(self, key) for key in ("load_quantization", "adapter") if getattr(self, key)}
        return digest([*parts, *([self.control] if self.control else []), *([on_load] if on_load else [])])


@dataclass(frozen=True)
class Runtime:
    """What the model runs on, determined after loading. It is recorded with the samples.

    Attributes
    ----------
    tokenizer : str
        SHA-256 of the tokenizer's behaviour. Baseline and candidate must agree.
    end_tokens : tuple of int
        Ids that end a generated text. Baseline and candidate must agree on tasks that generate.
    versions : dict
        Versions of libraries and programs, and the scoring method.
    stack : dict
        What changes rounding although the weights are equal; see `gate.engines.stack`.
    weights_bytes : int or None
        Size of the weights on disk; None if only a server knows it.
    quantization : str or None
        The quantisation of the loaded weights, e.g. `compressed-tensors W4A16 int`, or `none`; None if only a server
        knows it.
    peak_memory : int or None
        Most bytes in use since the model was loaded, on a GPU or in the process; None if not known.
    """

    device: str
    hardware: str
    dtype: str
    tokenizer: str
    end_tokens: tuple[int, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    stack: dict[str, str] = field(default_factory=dict)
    weights_bytes: int | None = None
    quantization: str | None = None
    peak_memory: int | None = None


class Engine(Protocol):
    """A model that answers requests. Answers are in the order of the requests."""

    @property
    def runtime(self) -> Runtime:
        """What the model runs on."""

    def render_chat(self, messages: Sequence[Message], chat: ChatFormat = TEMPLATE_ONLY) -> str:
        """Return the prompt that the chat template renders.

        If the last message is the assistant's, the prompt leaves it open for the model to continue. Empty if the chat
        is sent to a server's chat route, and the server's prompt is not known.
        """

    def loglikelihood(self, requests: Sequence[LoglikelihoodRequest], progress: Progress) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests."""

    def loglikelihood_rolling(self, requests: Sequence[RollingRequest], progress: Progress) -> list[RollingAnswer]:
        """Answer rolling requests."""

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer generation requests."""
