"""Tensors of a checkpoint that transformers does not load: what would change the numbers is refused.

Allowed are: tables that the model computes itself (rotary frequencies, position ids, causal masks); parts beside the
language model (vision, audio, projectors, next-token-prediction layers); modules beside the decoder, such as a value
head; scales that are all 1, and biases and zero points that are all 0. Everything else is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import transformers

from gate.config import ModelSettings
from gate.engines.files import safetensors_files
from gate.engines.quantization import (
    SERVE_IT,
    WHOLE_NUMBERS,
    count_parameters,
    declared_quantization,
    first_names,
    is_quantization_parameter,
    tensors_of,
)
from gate.errors import ModelError

_COMPUTED = re.compile(
    r"(^|\.)(inv_freq|cos_cached|sin_cached|position_ids|masked_bias|causal_mask|num_batches_tracked|_extra_state)$"
)
_BESIDE = re.compile(
    r"(visual|vision|vit|image|video|audio|speech|talker|code2wav|token2wav|mm|multi_?modal|projector|mtp|nextn|eagle"
    r"|medusa)(_\w+)?"
)
_NEXT_TOKEN_LAYERS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers", "num_mtp_modules")
_LAYER = re.compile(r"\.(layers|h|blocks)\.(\d+)\.")


def check_unused(model: Any, unexpected: Iterable[str], folder: Path, settings: ModelSettings) -> None:
    """Refuse tensors of the checkpoint that the loaded model does not use, although they change its numbers.

    Parameters
    ----------
    unexpected : iterable of str
        Names of the tensors that transformers did not load.

    Raises
    ------
    ModelError
        There are such tensors, or whole numbers were loaded as weights without a method that scales them.
    """
    name = settings.model
    files = safetensors_files(folder, name)
    dropped = [key for key in sorted(unexpected) if not _is_harmless(key, model)]
    neutral = _neutral(files, dropped)
    dropped = [key for key in dropped if key not in neutral]
    parameters = [key for key in dropped if is_quantization_parameter(key)]
    if parameters:
        declared = declared_quantization(folder)
        method = f"its quantisation method is {declared.shown}" if declared else "no file names a quantisation method"
        raise ModelError(
            f"model {name}: the checkpoint has {count_parameters(parameters)} that transformers "
            f"{transformers.__version__} does not use: {first_names(parameters)}. Without them, the "
            f"weights would be wrong ({method}).",
            SERVE_IT,
        )
    if dropped:
        raise ModelError(
            f"model {name}: the checkpoint has {len(dropped)} tensors that {type(model).__name__} does not use: "
            f"{first_names(dropped)}. The loaded model would not be the one that was trained.",
            "Check model_type, architectures and num_hidden_layers in config.json, or remove the tensors from the "
            "checkpoint.",
        )
    if getattr(model, "hf_quantizer", None) is None:
        whole = sorted(key for key, kind, _ in tensors_of(files) if kind in WHOLE_NUMBERS and key.endswith(".weight"))
        if whole:
            raise ModelError(
                f"model {name}: {len(whole)} weights are integers, which no quantisation method scales: "
                f"{first_names(whole)}.",
                SERVE_IT,
            )


def _is_harmless(key: str, model: Any) -> bool:
    """Return whether a tensor belongs to no part of the model that computes log-probabilities of text."""
    parts = key.split(".")
    if _COMPUTED.search(key) or any(_BESIDE.fullmatch(part) for part in parts[:3]) or _is_next_token_layer(key, model):
        return True
    if is_quantization_parameter(key) or len(parts) < 2:
        return False
    top = parts[0]
    return top not in {child for child, _ in model.named_children()} and not _LAYER.search(key)


def _is_next_token_layer(key: str, model: Any) -> bool:
    """Return whether a tensor is of a layer after the last one that config.json declares for predicting more tokens."""
    found, config = _LAYER.search(key), model.config.get_text_config()
    layers = getattr(config, "num_hidden_layers", None)
    if found is None or not isinstance(layers, int):
        return False
    extra = max((getattr(config, name, None) or 0 for name in _NEXT_TOKEN_LAYERS), default=0)
    return layers <= int(found[2]) < layers + extra


def _neutral(files: Iterable[Path], keys: Iterable[str]) -> set[str]:
    """Return those of the tensors that change nothing: scales of 1, biases and zero points of 0, causal masks."""
    from safetensors import safe_open

    wanted = {key: 1.0 if "scale" in key else 0.0 for key in keys if re.search(r"scales?$|bias$|zero_?points?$", key)}
    neutral = set()
    for file in files if wanted else ():
        with safe_open(file, framework="pt") as opened:
            for key in wanted.keys() & set(opened.keys()):
                tensor = opened.get_tensor(key)
                is_mask = key.endswith(".bias") and tensor.ndim == 4  # as in checkpoints of GPT-2 and GPT-J
                if is_mask or bool((tensor.float() == wanted[key]).all()):
                    neutral.add(key)
    return neutral
