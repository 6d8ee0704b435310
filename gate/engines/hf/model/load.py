"""Load a checkpoint with transformers: safetensors only, no remote code and no missing weights by default."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig, GgufConfig

from gate.config import EngineSettings
from gate.engines.devices import resolve_device
from gate.engines.hf.model.capabilities import Capabilities, read_capabilities
from gate.engines.hf.model.on_load import apply_adapter, quantization_config
from gate.engines.hf.model.quantization import applied_quantization, unify_dtype
from gate.engines.hf.model.unused import check_unused
from gate.engines.source import ModelSource
from gate.engines.tokens.load import load_tokenizer, tokenizer_digest
from gate.errors import EvaluationError, ModelError, is_panic


@dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer.

    Attributes
    ----------
    device : torch.device
        Of the model's inputs.
    end_tokens : tuple of int
        Token ids that end a generated text.
    quantization : str
        See `gate.engines.hf.model.quantization.applied_quantization`.
    probes : dict
        Results of the probes that ran on this model, by name.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    tokenizer_digest: str
    end_tokens: tuple[int, ...]
    quantization: str = "none"
    probes: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the model's configuration says; read once."""
        return read_capabilities(self.model)


def to_device(values: Any, device: torch.device) -> torch.Tensor:
    """Copy a list, array or tensor to a device without waiting for the work that is queued there."""
    tensor = torch.as_tensor(values)
    if device.type == "cuda":  # a copy from pageable memory would wait
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def load(source: ModelSource, engine: EngineSettings) -> LoadedModel:
    """Load weights and tokenizer.

    Raises
    ------
    ModelError
        The checkpoint cannot be loaded, lacks weights, or is not a causal language model.
    EvaluationError
        The device does not exist or has too little memory for the weights.
    """
    transformers.utils.logging.set_verbosity_error()
    # our log handler escapes workflow commands, the handler of transformers does not
    transformers.utils.logging.disable_default_handler()
    transformers.utils.logging.enable_propagation()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns once per layer and batch
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    device = resolve_device(engine.device)
    tokenizer = load_tokenizer(source, engine)
    model = _load_weights(source, engine, device)
    model.eval()
    ends = _end_tokens(model, tokenizer, source.settings.model)
    # drops the penalties, beams and sampling of the checkpoint's generation_config.json
    model.generation_config = GenerationConfig(eos_token_id=list(ends) or None, pad_token_id=tokenizer.pad_token_id)
    quantization = applied_quantization(model, source)
    return LoadedModel(model, tokenizer, model.device, tokenizer_digest(tokenizer), ends, quantization)


def _end_tokens(model: Any, tokenizer: Any, name: str) -> tuple[int, ...]:
    """Return the token ids that end a text: those of the model and that of the tokenizer."""
    eos = getattr(model.generation_config, "eos_token_id", None)
    ends = [end for end in (*(eos if isinstance(eos, list) else [eos]), tokenizer.eos_token_id) if end is not None]
    for end in ends:
        if type(end) is not int or end < 0:
            raise ModelError(
                f"model {name}: eos_token_id of generation_config.json or config.json: expected token ids, found "
                f"{end!r}.",
                "Correct the file, or save the model again.",
            )
    return tuple(sorted(set(ends)))


def _without_lists(text: str) -> str:
    """Shorten lists of more than ten names, such as the 200 configuration classes that transformers supports."""

    def shorten(found: re.Match[str]) -> str:
        names = found[0].split(", ")
        return f"{', '.join(names[:3])} and {len(names) - 3} more"

    return re.sub(r"[\w.-]+(, [\w.-]+){10,}", shorten, text)


def _load_weights(source: ModelSource, engine: EngineSettings, device: str) -> Any:
    settings = source.settings
    options: dict[str, Any] = {}
    if settings.gguf_file is not None:
        options = {"gguf_file": settings.gguf_file, "quantization_config": GgufConfig(dequantize=True)}
    else:
        # None: pickle only if there is no safetensors file
        options["use_safetensors"] = None if settings.allow_pickle else True
        options |= quantization_config(source)
    if engine.attn_implementation is not None:  # None would replace the checkpoint's own
        options["attn_implementation"] = engine.attn_implementation
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source.folder,
            dtype=settings.dtype if settings.dtype == "auto" else getattr(torch, settings.dtype),
            device_map=device if device == "balanced" else {"": device},
            trust_remote_code=engine.trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported, and refused below with their names
            **options,
        )
    except torch.OutOfMemoryError as error:
        raise EvaluationError(
            f"model {settings.model} does not fit into the GPU's memory: {error}",
            "Use a larger GPU, `engine.device: balanced` (spreads the model over all GPUs), or a smaller dtype.",
        ) from None
    except ImportError as error:
        raise ModelError(
            f"model {settings.model} needs a package that is not installed: {error}",
            "Install it beside quantgate: bitsandbytes, compressed-tensors, torchao, gguf or auto-round; gptqmodel for "
            "AWQ; gptqmodel and optimum for GPTQ.",
        ) from None
    except BaseException as error:  # a broken file can raise anything, also a panic
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise ModelError(
            f"model {settings.model} cannot be loaded: {type(error).__name__}: {_without_lists(str(error))}",
            f"Check that {source.folder} is a complete causal-LM checkpoint that the installed transformers supports.",
        ) from error
    if settings.gguf_file is None and source.folder is not None:
        check_unused(model, report["unexpected_keys"], source.folder, settings)
    missing = sorted(report["missing_keys"])
    mismatched = sorted(
        f"{key} ({tuple(found)} instead of {tuple(expected)})" for key, found, expected in report["mismatched_keys"]
    )
    if missing or mismatched:
        # transformers only warns, and initialises them randomly
        raise ModelError(
            f"model {settings.model}: the checkpoint lacks {len(missing)} weights and has {len(mismatched)} of another "
            f"shape: {', '.join((missing + mismatched)[:3])}.",
            "The checkpoint is incomplete or has another architecture than its config.json says: save it again.",
        )
    unify_dtype(model, settings.dtype)
    apply_adapter(model, source)
    return model
