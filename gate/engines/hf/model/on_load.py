"""Quantisation on loading (`load_in`, `quantization_config`) and adapters (`adapter`) of a model in gate.yml."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import BitsAndBytesConfig

from gate.engines.quantization import declared_quantization, first_names
from gate.engines.source import ModelSource
from gate.errors import ModelError, is_panic


def quantization_config(source: ModelSource) -> dict[str, Any]:
    """Return the option of transformers that quantises a model on loading; empty to load it as it is stored.

    Raises
    ------
    ModelError
        The checkpoint is quantised already, or the configuration is not valid.
    """
    settings = source.settings
    if source.folder is None or (settings.load_in is None and settings.quantization_config is None):
        return {}
    declared = declared_quantization(source.folder)
    key = "load_in" if settings.load_in is not None else "quantization_config"
    if declared is not None:
        raise ModelError(
            f"model {settings.model}: {key} is set, but the checkpoint is quantised already: {declared.shown} "
            f"({declared.file}).",
            f"Remove `{key}`, or name the model that the checkpoint was made from.",
        )
    if settings.load_in == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    if settings.load_in == "4bit":
        dtype = torch.bfloat16 if settings.dtype == "auto" else getattr(torch, settings.dtype)
        nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
        return {"quantization_config": nf4}
    try:
        return {"quantization_config": _from_mapping(dict(settings.quantization_config or {}))}
    except ImportError as error:
        raise ModelError(
            f"model {settings.model}: quantization_config needs a package that is not installed: {error}",
            "Install it beside quantgate.",
        ) from None
    except Exception as error:  # each method checks its values in its own way
        raise ModelError(
            f"model {settings.model}: quantization_config is not valid: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}",
            "Expected the keys of the method's configuration in transformers, e.g. {quant_method: torchao, quant_type: "
            "Int8WeightOnlyConfig}.",
        ) from None


def _from_mapping(values: dict[str, Any]) -> Any:
    """Build the configuration of a method; torchao's class may be named by `quant_type`, with its arguments beside."""
    from transformers.quantizers.auto import AutoQuantizationConfig

    kind = values.get("quant_type")
    if values.get("quant_method") != "torchao" or not isinstance(kind, str):
        return AutoQuantizationConfig.from_dict(values)
    import torchao.quantization

    made = getattr(torchao.quantization, kind, None)
    if not isinstance(made, type):
        raise ValueError(f"torchao.quantization has no class {kind!r}")
    skipped = {key: values.pop(key) for key in ("modules_to_not_convert",) if key in values}
    arguments = {key: value for key, value in values.items() if key not in ("quant_method", "quant_type")}
    return transformers.TorchAoConfig(made(**arguments), **skipped)


def apply_adapter(model: Any, source: ModelSource) -> None:
    """Add the layers of the source's PEFT adapter, if it has one. Its weights are not merged into those of the model.

    Raises
    ------
    ModelError
        peft is not installed, the adapter cannot be loaded, or some of its weights do not fit the model.
    """
    if source.adapter_folder is None:
        return
    name = f"model {source.settings.model}: the adapter {source.settings.adapter}"
    safe = None if source.settings.allow_pickle else True
    try:
        report = model.load_adapter(
            str(source.adapter_folder), adapter_kwargs={"local_files_only": True}, use_safetensors=safe
        )
    except ImportError as error:
        raise ModelError(f"{name} needs a package that is not installed: {error}", "pip install peft") from None
    except BaseException as error:  # a broken file can raise anything, also a panic
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise ModelError(
            f"{name} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
            "Check that it was trained on this model.",
        ) from error
    wrong = sorted({*report.missing_keys, *report.unexpected_keys, *map(str, report.mismatched_keys)})
    if wrong:
        raise ModelError(
            f"{name} does not fit the model: {len(wrong)} of its weights are missing, unknown or of another shape: "
            f"{first_names(wrong)}.",
            "Check that it was trained on this model.",
        )
