"""The files of a PEFT adapter (`adapter:` of a model in gate.yml)."""

from __future__ import annotations

from pathlib import Path

from gate.common.packages import installed_version
from gate.config import ModelSettings
from gate.engines.files import hash_files
from gate.errors import ModelError

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"


def adapter_patterns(settings: ModelSettings) -> tuple[str, ...]:
    """Return the names of an adapter's files on the hub."""
    return (_CONFIG, _WEIGHTS, *([_PICKLE] if settings.allow_pickle else []))


def check_adapter(folder: Path, settings: ModelSettings) -> None:
    """Check that a folder holds an adapter.

    Raises
    ------
    ModelError
        Its configuration or its weights are missing, or the weights are pickled without `allow_pickle`.
    """
    name = f"model {settings.model}: the adapter {settings.adapter}"
    if not (folder / _CONFIG).is_file():
        raise ModelError(f"{name}: no {_CONFIG} in {folder}.", "Expected a folder that peft's save_pretrained wrote.")
    if (folder / _WEIGHTS).is_file() or (settings.allow_pickle and (folder / _PICKLE).is_file()):
        return
    if (folder / _PICKLE).is_file():
        raise ModelError(
            f"{name}: {folder} has only pickled weights ({_PICKLE}), which can run code.",
            "Convert them (peft's save_pretrained writes safetensors), or set allow_pickle: true if you trust the "
            "source.",
        )
    raise ModelError(f"{name}: no {_WEIGHTS} in {folder}.", "Expected a folder that peft's save_pretrained wrote.")


def refuse_embedded_adapter(folder: Path, settings: ModelSettings) -> None:
    """Refuse a model's folder that holds an adapter too: transformers applies it only if peft is installed.

    Raises
    ------
    ModelError
        The folder holds both.
    """
    if (folder / _CONFIG).is_file() and any((folder / name).is_file() for name in (_WEIGHTS, _PICKLE)):
        raise ModelError(
            f"model {settings.model}: {folder} holds a model and a PEFT adapter ({_CONFIG}).",
            "Move the adapter's files to a folder of their own, and name it with `adapter:` if the model needs it.",
        )


def adapter_identity(folder: Path | None, settings: ModelSettings, revision: str | None) -> str:
    """Return the hash of an adapter's files (or its commit) with the version of peft; empty without an adapter."""
    if settings.adapter is None:
        return ""
    content = f"hub {settings.adapter}@{revision}"
    if folder is not None:
        files = (folder / name for name in adapter_patterns(settings))
        content = hash_files(folder, sorted(file for file in files if file.is_file()))
    return f"{content}, peft {installed_version('peft')}"
