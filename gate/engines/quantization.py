"""The quantisation that the files of a checkpoint declare. Nothing is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gate.common.packages import installed_version
from gate.errors import ModelError

# the last part of the name of a tensor without which quantised weights are other numbers
_PARAMETER = re.compile(
    r"\.(\w*scales?(_inv|_\d)?|\w*scaling_factor|\w*zero_?points?|\w*zeros|\w*amax|\w*absmax|\w*quant_map"
    r"|quant_state\.\w+|SCB|weight_format|g_idx|qweight|weight_packed|weight_shape|_data|_shift|W_q)$"
)
# files beside config.json that name a method; transformers reads none of them
_SIDE_FILES = {
    "hf_quant_config.json": "ModelOpt",
    "quanto_qmap.json": "optimum-quanto",
    "quantize_config.json": "GPTQ",
    "quant_config.json": "AWQ",
    "qmodel.pt": "HQQ",  # the weights themselves
}
# methods that every supported transformers applies: they need no import of transformers
_COMMON = ("awq", "bitsandbytes", "compressed-tensors", "fp8", "gptq", "mxfp4", "torchao")
_NARROW = ("F4", "F6", "F8")
WHOLE_NUMBERS = ("I4", "U4", "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64")
"""Number formats in safetensors files that hold no weights unless they are scaled."""
SERVE_IT = (
    "Serve it with an engine that supports the format: set `engine: {kind: served, preset: vllm}` for this model, or "
    "`kind: openai` for a server that runs already. Or save it in a format that transformers loads."
)
"""What to do with a checkpoint that transformers cannot load."""
# of methods that vLLM does not apply either
_NEXT_STEPS = {
    "optimum-quanto": "No engine loads this folder. Quantise the original model on loading: `quantization_config: "
    "{quant_method: quanto, weights: int8}`. Or save it in a format that transformers loads.",
    "HQQ": "Use `kind: openai` with a server that loads HQQ, or quantise the original model in a format that "
    "transformers or vLLM loads.",
}


@dataclass(frozen=True)
class Declared:
    """A quantisation method that a file of the checkpoint names.

    Attributes
    ----------
    method : str
        Value of `quant_method` in config.json, or the name of the tool that writes the side file.
    shown : str
        The method for messages, with its number format where the file names it.
    file : str
        Name of the file.
    """

    method: str
    shown: str
    file: str


def is_quantization_parameter(name: str) -> bool:
    """Return whether a tensor's name is that of a scale, a zero point or packed weights."""
    return _PARAMETER.search(name) is not None


def declared_quantization(folder: Path) -> Declared | None:
    """Return the method that config.json declares, else that of a side file; None without either."""
    config = _read(folder / "config.json")
    for section in (config, config.get("text_config")):
        if not isinstance(section, dict):
            continue
        declared = section.get("quantization_config") or section.get("compression_config")
        if isinstance(declared, dict) and declared:
            method = str(declared.get("quant_method") or _unnamed_method(declared))
            algorithm = str(declared.get("quant_algo") or "")
            return Declared(method, f"{method} {algorithm}".strip(), "config.json")
    for name, method in _SIDE_FILES.items():
        if (folder / name).is_file():
            section = _read(folder / name).get("quantization")
            algorithm = str(section.get("quant_algo") or "") if isinstance(section, dict) else ""
            return Declared(method, f"{method} {algorithm}".strip(), name)
    return None


def _unnamed_method(declared: dict[str, Any]) -> str:
    """Return the method of a section without `quant_method`: bitsandbytes, MLX, or unknown."""
    if declared.get("load_in_8bit") or declared.get("load_in_4bit"):
        return "bitsandbytes"
    return "MLX" if set(declared) <= {"group_size", "bits", "mode"} else "unknown"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # the loader explains it
    return content if isinstance(content, dict) else {}


def is_applied(declared: Declared) -> bool:
    """Return whether the installed transformers applies a declared method; True if it is not installed."""
    if declared.file != "config.json":
        return False
    if declared.method in _COMMON or find_spec("transformers") is None:
        return True
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    return declared.method in AUTO_QUANTIZATION_CONFIG_MAPPING


def check_declared_method(folder: Path, name: str, files: Sequence[Path]) -> None:
    """Refuse quantised weights whose method transformers does not apply, before they are loaded.

    Parameters
    ----------
    name : str
        Of the model, for the message.
    files : sequence of Path
        Its safetensors files; empty if the weights are pickled.

    Raises
    ------
    ModelError
        A file declares such a method, and the weights are quantised; or they are in a layout that cannot be loaded.
    """
    declared = declared_quantization(folder)
    if declared is None:
        return
    if declared.method == "bitsandbytes":
        _check_bitsandbytes_layout(name, files)
    if is_applied(declared):
        return
    tensors = list(tensors_of(files))
    ignored = [key for key, _, _ in tensors if is_quantization_parameter(key)]
    narrow = any(kind.startswith((*_NARROW, *WHOLE_NUMBERS)) for _, kind, _ in tensors)
    if files and not ignored and not narrow:
        return  # saved again in full precision: the declaration is stale
    found = ""
    if ignored:
        found = f" The checkpoint has {count_parameters(ignored)} that would be ignored: {first_names(ignored)}."
    raise ModelError(
        f"model {name}: its quantisation method is {declared.shown} ({declared.file}), which transformers "
        f"{installed_version('transformers')} does not apply.{found}",
        _NEXT_STEPS.get(declared.method, SERVE_IT),
    )


def _check_bitsandbytes_layout(name: str, files: Sequence[Path]) -> None:
    """Refuse 4-bit weights that were saved after a forward pass on a CPU.

    bitsandbytes repacks weights there for the CPU's instructions (`_convert_weight_packed_for_cpu`), and transformers
    saves them like that, without a mark. Only the shape of the block maxima shows it: a table instead of a list.
    """
    repacked = [key for key, _, shape in tensors_of(files) if key.endswith(".absmax") and len(shape) > 1]
    if repacked:
        raise ModelError(
            f"model {name}: {len(repacked)} of its 4-bit weights are in the layout that bitsandbytes uses while it "
            f"computes on a CPU, and would be loaded as other numbers: {first_names(repacked)}.",
            "The model was saved after a forward pass on a CPU. Quantise it again, and save it before it computes.",
        )


def tensors_of(files: Iterable[Path]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Return name, number format and shape of the tensors in safetensors files; only the headers are read."""
    from safetensors import safe_open

    for file in files:
        with safe_open(file, framework="np") as opened:
            for key in sorted(opened.keys()):
                tensor = opened.get_slice(key)
                yield key, tensor.get_dtype(), tuple(tensor.get_shape())


def count_parameters(names: Sequence[str]) -> str:
    """Return the number of quantisation parameters in words."""
    return f"{len(names)} quantisation parameters" if len(names) != 1 else "1 quantisation parameter"


def first_names(names: Sequence[str]) -> str:
    """Return the first three of some names, and the number of the others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
