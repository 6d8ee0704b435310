"""The models in gate.yml: whether they exist, and how large they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.config import LoadedConfig, ModelSettings
from gate.doctor.finding import Finding, size
from gate.errors import GateError

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Weights:
    """Size and origin of a model.

    Attributes
    ----------
    device : str
        `engine.device`.
    loaded : int or None
        Bytes of the weights in memory; None if unknown.
    to_download : int or None
        Bytes that are not in the local cache; None if unknown or not from the hub.
    """

    role: str
    device: str
    loaded: int | None
    from_hub: bool = False
    to_download: int | None = None


def examine_models(loaded: LoadedConfig, readable: bool = True) -> tuple[list[Finding], list[Weights]]:
    """Locate all models as `gate run` does, without downloading or hashing them.

    Unless checkpoints are `readable`, because packages are missing, only served models are examined.
    """
    from gate.engines import locate
    from gate.engines.files import weights_bytes

    findings, weights = [], []
    for role, settings in loaded.config.models.items():
        engine = loaded.config.engine_of(settings)
        if engine.kind == "openai":
            findings.append(Finding(role, "ok", f"{settings.model}, served at {engine.base_url}."))
            continue
        if not readable:
            findings.append(Finding(role, "warn", f"{settings.model} is not checked: packages are missing."))
            continue
        try:
            source = locate(settings, loaded.folder, engine)
        except GateError as error:
            findings.append(Finding(role, "problem", error.message, error.hint))
            continue
        if source.folder is not None:
            stored = weights_bytes(source.folder, settings)
            text = f"{settings.model}, {size(stored)} of weights in {source.folder}."
            # a server decides itself how its memory is used
            loaded_bytes = _loaded_bytes(stored, source.folder, settings) if engine.kind == "transformers" else None
            weights.append(Weights(role, engine.device, loaded_bytes))
        else:
            total, missing = _hub_bytes(settings, source.revision)
            text = f"{settings.model} at commit {(source.revision or '')[:12]} of the hub"
            text += f", {size(total)} of weights." if total is not None else "; its size is unknown."
            loaded_bytes = total if engine.kind == "transformers" else None
            weights.append(Weights(role, engine.device, loaded_bytes, True, missing))
        findings.append(Finding(role, "ok", text))
    return findings, weights


def _loaded_bytes(stored: int, folder: Path, settings: ModelSettings) -> int | None:
    """Return the size in memory, which differs from the size on disk where the dtype is converted."""
    if settings.gguf_file is not None:
        return None  # dequantised when loaded, by an unknown factor
    if settings.dtype == "auto":
        return stored
    try:
        config: Mapping[str, object] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        stored_width = _BYTES[str(config.get("dtype") or config.get("torch_dtype"))]
    except (OSError, ValueError, KeyError, AttributeError, RecursionError):
        return stored
    return stored * _BYTES[settings.dtype] // stored_width


def _hub_bytes(settings: ModelSettings, revision: str | None) -> tuple[int | None, int | None]:
    """Return the total size of a hub model's weights and the size missing from the cache; None if unknown."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    from gate.engines.files import WEIGHT_SUFFIXES

    try:
        info = HfApi().model_info(settings.model, revision=revision, files_metadata=True, timeout=20)
    except (OSError, ValueError, HTTPError):  # offline, gated or no such name: the run reports which
        return None, None
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    if settings.gguf_file is not None:
        names = [name for name in sizes if name == settings.gguf_file]
    else:
        by_suffix = ([name for name in sizes if name.endswith(suffix)] for suffix in WEIGHT_SUFFIXES)
        names = next((names for names in by_suffix if names), [])
    missing = [
        name for name in names if not isinstance(try_to_load_from_cache(settings.model, name, revision=revision), str)
    ]
    return sum(sizes[name] for name in names), sum(sizes[name] for name in missing)
