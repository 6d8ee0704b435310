"""Loading a checkpoint with transformers: safetensors, no remote code, no silently missing weights."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from gate.config import EngineSettings
from gate.engines.source import ModelSource
from gate.errors import EvaluationError, ModelError
from gate.tasks import digest

NO_GPU = (
    "Either make nvidia the default runtime of the runner's Docker daemon ('default-runtime': 'nvidia' in "
    "/etc/docker/daemon.json), or run the job in the image with `container: {image: ..., options: --gpus all}` "
    "and `run: gate run`. To evaluate on the CPU on purpose, set engine.device: cpu."
)


@dataclass(frozen=True)
class LoadedModel:
    """A model and its tokenizer, ready to answer."""

    model: Any
    tokenizer: Any
    device: torch.device
    tokenizer_digest: str
    end_tokens: tuple[int, ...]


def to_device(values: Any, device: torch.device) -> torch.Tensor:
    """Copy a list, array or tensor to a device without waiting for the work that is queued there."""
    tensor = torch.as_tensor(values)
    if device.type == "cuda":  # from pageable memory the copy would wait
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def resolve_device(device: str) -> str:
    """Return `cpu`, `cuda:N` or `balanced` for the setting.

    Raises
    ------
    EvaluationError
        A GPU was asked for and none (or no such) is visible: never silently the CPU.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if count else "cpu"
    if device == "cpu":
        return device
    if not count:
        build = "this torch build has no CUDA" if torch.version.cuda is None else f"torch {torch.__version__}"
        raise EvaluationError(f"engine.device is {device}, but no GPU is visible ({build}).", NO_GPU)
    if device == "balanced":
        return device
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        raise EvaluationError(
            f"engine.device is {device}, but only {count} GPU(s) are visible.", "Numbers start at 0."
        )
    return f"cuda:{index}"


def load(source: ModelSource, engine: EngineSettings) -> LoadedModel:
    """Load weights and tokenizer.

    Raises
    ------
    ModelError
        The checkpoint cannot be loaded, lacks weights, or is no causal language model.
    EvaluationError
        No such device, or not enough memory for the weights.
    """
    transformers.utils.logging.set_verbosity_error()
    # its errors go the way of all log records, which makes them harmless in a workflow's log
    transformers.utils.logging.disable_default_handler()
    transformers.utils.logging.enable_propagation()
    transformers.utils.logging.disable_progress_bar()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    device = resolve_device(engine.device)
    tokenizer = load_tokenizer(source, engine)
    model = _load_weights(source, engine, device)
    model.eval()
    where = next(model.parameters()).device if device == "balanced" else torch.device(device)
    ends = _end_tokens(model, tokenizer)
    # penalties, beams and sampling of the checkpoint's own generation_config.json must not reach the answers
    model.generation_config = GenerationConfig(
        eos_token_id=list(ends) or None, pad_token_id=tokenizer.pad_token_id
    )
    return LoadedModel(model, tokenizer, where, tokenizer_digest(tokenizer), ends)


def _end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the ids that end a text: the model's own list and the tokenizer's."""
    own = getattr(model.generation_config, "eos_token_id", None)
    ends = set(own if isinstance(own, list) else [own]) | {tokenizer.eos_token_id}
    return tuple(sorted(end for end in ends if end is not None))


def _load_weights(source: ModelSource, engine: EngineSettings, device: str) -> Any:
    settings = source.settings
    options: dict[str, Any] = {}
    if settings.gguf_file is not None:
        from transformers import GgufConfig

        options = {"gguf_file": settings.gguf_file, "quantization_config": GgufConfig(dequantize=True)}
    else:
        options["use_safetensors"] = (
            None if settings.allow_pickle else True
        )  # None: pickle only as a last resort
    if engine.attn_implementation is not None:
        options["attn_implementation"] = engine.attn_implementation
    common = {"trust_remote_code": engine.trust_remote_code, "local_files_only": True}
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source.folder,
            dtype=settings.dtype if settings.dtype == "auto" else getattr(torch, settings.dtype),
            device_map=device if device == "balanced" else {"": device},
            output_loading_info=True,
            **common,
            **options,
        )
    except torch.OutOfMemoryError as error:
        raise EvaluationError(f"model {settings.model} does not fit into the GPU's memory: {error}") from None
    except ImportError as error:
        raise ModelError(
            f"model {settings.model} needs a package that is not installed: {error}",
            "Install it beside quantgate (bitsandbytes, gptqmodel, autoawq, compressed-tensors, torchao, gguf, ...).",
        ) from None
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"model {settings.model} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    missing = sorted(report["missing_keys"])
    mismatched = sorted(str(entry) for entry in report["mismatched_keys"])
    if missing or mismatched:
        # transformers only warns and fills them with random numbers
        raise ModelError(
            f"model {settings.model}: the checkpoint lacks {len(missing)} weights and has {len(mismatched)} of another "
            f"shape: {', '.join((missing + mismatched)[:3])}.",
            "The checkpoint is incomplete or belongs to another architecture: save it again.",
        )
    return model


def load_tokenizer(source: ModelSource, engine: EngineSettings) -> Any:
    """Load a source's tokenizer, padding on the left.

    Raises
    ------
    ModelError
        It cannot be loaded.
    """
    options = {"gguf_file": source.settings.gguf_file} if source.gguf_tokenizer else {}
    folder = source.tokenizer_folder
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=engine.trust_remote_code, local_files_only=True, **options
        )
    except (OSError, ValueError, ImportError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"model {source.settings.model}: the tokenizer in {folder} cannot be loaded: {error}",
            "Set `tokenizer:` to a folder or hub name with tokenizer files, or to `baseline`.",
        ) from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def tokenizer_digest(tokenizer: Any) -> str:
    """Hash what a tokenizer does: vocabulary, pipeline and added tokens, not how its files are written."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return digest([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    pipeline = json.loads(backend.to_str())
    for name in ("version", "truncation", "padding"):  # state of the last call, not behaviour
        pipeline.pop(name, None)
    return digest(pipeline)
