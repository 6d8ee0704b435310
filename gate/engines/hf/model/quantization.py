"""The quantisation that transformers applied to a loaded model, and its number format."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from gate.engines.quantization import declared_quantization, is_applied
from gate.engines.source import ModelSource

_HALF = (torch.bfloat16, torch.float16)


def applied_quantization(model: Any, source: ModelSource) -> str:
    """Return the quantisation of a loaded model, e.g. `bitsandbytes nf4`, `fp8 dequantised`, or `none`.

    Dequantised weights have the quantised values, and are multiplied in the number format of the model.
    """
    if source.settings.gguf_file is not None:
        return "gguf dequantised"
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is None:  # transformers removes it where it dequantised the weights
        declared = None if source.folder is None else declared_quantization(source.folder)
        return f"{declared.shown} dequantised" if declared is not None and is_applied(declared) else "none"
    config = quantizer.quantization_config
    method = str(getattr(config.quant_method, "value", config.quant_method))
    parts = [method, *_details(method, config)]
    if getattr(config, "dequantize", False):
        parts.append("dequantised")
    return " ".join(parts)


def unify_dtype(model: Any, dtype: str) -> None:
    """Cast the parts of a dequantised model that kept the checkpoint's 16-bit format to the format asked for.

    transformers dequantises the linear layers to `dtype` and leaves the rest, e.g. the embedding, as it is stored. The
    two cannot be multiplied.
    """
    if dtype == "auto" or getattr(model, "hf_quantizer", None) is not None:
        return
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype in _HALF:
            tensor.data = tensor.data.to(getattr(torch, dtype))


def _details(method: str, config: Any) -> Iterable[str]:
    """Return the number format, as far as the method's configuration names it."""
    if method == "bitsandbytes":
        return ["8-bit"] if config.load_in_8bit else [str(config.bnb_4bit_quant_type)]
    if method == "compressed-tensors":
        schemes = getattr(getattr(config, "quantization_config", None), "config_groups", None) or {}
        return sorted({_scheme(scheme) for scheme in schemes.values()})
    if method == "torchao":
        return [type(config.quant_type).__name__.removesuffix("Config")]
    if method == "quanto":
        return [str(config.weights)]
    block, bits, group = (getattr(config, name, None) for name in ("weight_block_size", "bits", "group_size"))
    details = [f"{bits}-bit"] if bits else []
    details += [f"group {group}"] if group else []
    return [*details, "block " + "x".join(map(str, block))] if block else details


def _scheme(scheme: Any) -> str:
    """Return the numbers of bits of weights and activations, and the kind of number, e.g. `W4A16 int`."""
    weights, inputs = scheme.weights, scheme.input_activations
    bits = f"W{weights.num_bits if weights else 16}A{inputs.num_bits if inputs else 16}"
    kind = getattr((weights or inputs), "type", None)
    return f"{bits} {getattr(kind, 'value', kind)}" if kind else bits
