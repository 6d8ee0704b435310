"""The default engine: any causal language model that transformers can load."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import jinja2
import torch

from gate.config import EngineSettings
from gate.engines.base import (
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    Progress,
    RollingAnswer,
    RollingRequest,
    Runtime,
)
from gate.engines.hf.generation.generate import generate
from gate.engines.hf.generation.room import automatic_text_tokens
from gate.engines.hf.model.batching import BatchLimit
from gate.engines.hf.model.load import LoadedModel, load
from gate.engines.hf.scoring.scorer import Scorer
from gate.engines.source import ModelSource
from gate.errors import TaskError
from gate.tasks import Message


class TransformersEngine:
    """Answers requests with a model loaded by transformers; see `gate.engines.base.Engine`.

    Parameters
    ----------
    source : ModelSource
    settings : EngineSettings

    Raises
    ------
    ModelError, EvaluationError
        See `gate.engines.hf.model.load.load`.
    """

    def __init__(self, source: ModelSource, settings: EngineSettings) -> None:
        self._name = source.settings.model
        self._settings = settings
        self._loaded: LoadedModel = load(source, settings)
        tokens = settings.max_batch_tokens
        self._max_length = _max_length(self._loaded.model, self._loaded.tokenizer)
        self._scorer = Scorer(
            self._loaded,
            None if isinstance(tokens, str) else tokens,
            settings.pad_to_multiple_of,
            self._max_length,
        )
        self._texts: BatchLimit | None = None

    @property
    def runtime(self) -> Runtime:
        """Device, hardware, number format and library versions, as found after loading."""
        device = self._loaded.device
        hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
        names = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy")
        versions = {name: version(name) for name in names}
        if self._scorer.method_name is not None:
            versions["scoring"] = self._scorer.method_name
        return Runtime(
            device=str(device),
            hardware=hardware,
            dtype=str(self._loaded.model.dtype).removeprefix("torch."),
            tokenizer=self._loaded.tokenizer_digest,
            end_tokens=self._loaded.end_tokens,
            versions=versions,
        )

    @property
    def scorer(self) -> Scorer:
        """What answers log-likelihood requests; for `gate.engines.hf.scoring.check`."""
        return self._scorer

    def render_chat(self, messages: Sequence[Message]) -> str:
        """Return the prompt that the tokenizer's chat template makes of `messages`.

        Raises
        ------
        TaskError
            The tokenizer has no chat template, or the template refuses the messages.
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        begun = turns[-1]["role"] == "assistant"  # the answer's beginning is given, and goes on
        try:
            text = self._loaded.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=not begun, continue_final_message=begun
            )
        except (ValueError, jinja2.TemplateError) as error:
            raise TaskError(
                f"chat_template: true, but {self._name} cannot render the chat: {error}",
                "Set chat_template: false, or use a tokenizer that ships a chat template.",
            ) from None
        return str(text)

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], progress: Progress
    ) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""
        return self._scorer.loglikelihood(requests, progress)

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], progress: Progress
    ) -> list[RollingAnswer]:
        """Answer rolling requests, in their order."""
        return self._scorer.loglikelihood_rolling(requests, progress)

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer generation requests, in their order."""
        multiple = self._settings.pad_to_multiple_of
        if self._texts is None:
            tokens = self._settings.max_batch_tokens
            bound = automatic_text_tokens(self._loaded) if isinstance(tokens, str) else tokens
            self._texts = BatchLimit(bound)
        return generate(self._loaded, requests, self._texts, multiple, self._max_length, progress)


def _max_length(model: Any, tokenizer: Any) -> int:
    """Return the longest input in tokens: the model's positions, else the tokenizer's limit, else 2048."""
    config = model.config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    limit = tokenizer.model_max_length
    return int(limit) if limit < 10**9 else 2048


def _processor() -> str:
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
