"""The default engine: any causal language model that transformers can load."""

from __future__ import annotations

import gc
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch

from gate.common.packages import installed_version
from gate.config import EngineSettings
from gate.engines.base import Progress, Runtime
from gate.engines.files import weights_bytes
from gate.engines.hf.generation.generate import generate
from gate.engines.hf.generation.token_budget import automatic_token_budget
from gate.engines.hf.model.batching import BatchLimit
from gate.engines.hf.model.causal import check_causal
from gate.engines.hf.model.load import load
from gate.engines.hf.model.memory import peak_memory, reset_peak
from gate.engines.hf.scoring.scorer import Scorer
from gate.engines.source import ModelSource
from gate.engines.stack import local_stack
from gate.engines.tokens.tokenizer import render_chat
from gate.errors import EvaluationError, ModelError
from gate.tasks import Message
from gate.tasks.chat import TEMPLATE_ONLY, ChatFormat
from gate.tasks.requests import (
    GenerateAnswer,
    GenerateRequest,
    LoglikelihoodAnswer,
    LoglikelihoodRequest,
    RollingAnswer,
    RollingRequest,
)


class TransformersEngine:
    """Answers requests with a model that transformers loads; see `gate.engines.base.Engine`.

    Attributes
    ----------
    scorer : Scorer
        Answers the log-likelihood requests.

    Raises
    ------
    ModelError, EvaluationError
        See `gate.engines.hf.model.load.load` and `gate.engines.hf.model.causal.check_causal`.
    """

    def __init__(self, source: ModelSource, settings: EngineSettings) -> None:
        self._name = source.settings.model
        self._settings = settings
        self._dtype = source.settings.dtype
        self._weights_bytes = None if source.folder is None else weights_bytes(source.folder, source.settings)
        # The garbage collector need not visit the objects of torch and transformers: a full collection takes longer
        # than planning a batch. Before loading, and after a collection, because a frozen model would never be freed.
        gc.collect()
        gc.freeze()
        self._loaded = load(source, settings)
        reset_peak(self._loaded.device)
        tokens = settings.max_batch_tokens
        self._max_batch_tokens = None if isinstance(tokens, str) else tokens
        self._max_length = _max_length(self._loaded.model, self._loaded.tokenizer)
        self.scorer = Scorer(self._loaded, self._max_batch_tokens, self._max_length)
        with self._explained():
            check_causal(self._loaded, self._name)

    @property
    def runtime(self) -> Runtime:
        """Device, hardware, number format and library versions, as found after loading."""
        device = self._loaded.device
        if device.type == "cuda":
            hardware = torch.cuda.get_device_name(device)
        else:
            hardware = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
        packages = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy")
        versions = {name: found for name in packages if (found := installed_version(name)) is not None}
        if self.scorer.method_name is not None:
            versions["scoring"] = self.scorer.method_name
        dtype = str(self._loaded.model.dtype).removeprefix("torch.")
        return Runtime(
            device=str(device),
            hardware=hardware,
            dtype=dtype,
            tokenizer=self._loaded.tokenizer_digest,
            end_tokens=self._loaded.end_tokens,
            versions=versions,
            stack=local_stack(self._settings, str(device), hardware, dtype),
            weights_bytes=self._weights_bytes,
            quantization=self._loaded.quantization,
            peak_memory=peak_memory(device),
        )

    def render_chat(self, messages: Sequence[Message], chat: ChatFormat = TEMPLATE_ONLY) -> str:
        """Return the prompt that the tokenizer's chat template renders.

        Raises
        ------
        TaskError
            The tokenizer has no chat template, or the template rejects the messages.
        """
        return render_chat(self._loaded.tokenizer, messages, self._name, chat)

    def loglikelihood(self, requests: Sequence[LoglikelihoodRequest], progress: Progress) -> list[LoglikelihoodAnswer]:
        """Answer log-likelihood requests, in their order."""
        with self._explained():
            return self.scorer.loglikelihood(requests, progress)

    def loglikelihood_rolling(self, requests: Sequence[RollingRequest], progress: Progress) -> list[RollingAnswer]:
        """Answer rolling requests, in their order."""
        with self._explained():
            return self.scorer.loglikelihood_rolling(requests, progress)

    def generate_until(self, requests: Sequence[GenerateRequest], progress: Progress) -> list[GenerateAnswer]:
        """Answer generation requests, in their order."""
        with self._explained():
            return generate(self._loaded, requests, self._generation_limit, self._max_length, progress)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Explain the errors of an embedding without the token, and of layers that compute in another format."""
        try:
            yield
        except (IndexError, RuntimeError) as error:
            if "same dtype" in str(error):
                raise ModelError(
                    f"model {self._name}: quantised with {self._loaded.quantization}, its layers do not compute in "
                    f"{self._dtype}: {str(error).splitlines()[0]}.",
                    "Set `dtype: auto` for this model, which takes the format of the checkpoint, or `dtype: bfloat16`.",
                ) from error
            if "index out of range in self" not in str(error) and "device-side assert" not in str(error):
                raise
            raise EvaluationError(
                f"model {self._name}: the tokenizer gives token ids that the model's embedding does not have.",
                "Set `tokenizer:` to the tokenizer that the model was trained with.",
            ) from error

    @cached_property
    def _generation_limit(self) -> BatchLimit:
        return BatchLimit(self._max_batch_tokens or automatic_token_budget(self._loaded))


def _max_length(model: Any, tokenizer: Any) -> int:
    """Return the longest input in tokens: the model's number of positions, the tokenizer's limit, or 2048."""
    config = model.config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    limit = tokenizer.model_max_length
    return int(limit) if limit < 10**9 else 2048
