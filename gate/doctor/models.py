"""The models that gate.yml names: whether they are there, and how large."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.config import LoadedConfig, ModelSettings
from gate.doctor.finding import Finding, size
from gate.errors import GateError

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Weights:
    """What a model needs.

    Attributes
    ----------
    role : {"baseline", "candidate"}
    device : str
        `engine.device`.
    loaded : int or None
        Bytes of its weights in memory; None where that is not known.
    from_hub : bool
        Whether it comes from the hub.
    to_download : int or None
        Bytes of it that are not on this machine yet, where the hub tells.
    """

    role: str
    device: str
    loaded: int | None
    from_hub: bool = False
    to_download: int | None = None


def examine_models(loaded: LoadedConfig) -> tuple[list[Finding], list[Weights]]:
    """Find both models as `gate run` would, without downloading or hashing them."""
    from gate.engines import locate

    findings, sizes = [], []
    for role in ("baseline", "candidate"):
        settings: ModelSettings = getattr(loaded.config, role)
        engine = loaded.config.engine_of(settings)
        if engine.kind != "transformers":
            findings.append(Finding(role, "ok", f"{settings.model}, served at {engine.base_url}."))
            continue
        try:
            source = locate(settings, loaded.folder, engine)
        except GateError as error:
            findings.append(Finding(role, "problem", error.message, error.hint))
            continue
        if source.folder is not None:
            stored = _stored(source.folder, settings)
            findings.append(
                Finding(role, "ok", f"{settings.model}, {size(stored)} of weights in {source.folder}.")
            )
            sizes.append(Weights(role, engine.device, _loaded(stored, source.folder, settings)))
            continue
        commit = (source.revision or "")[:12]
        whole, missing = _hub(settings, source.revision)
        text = f"{settings.model} at commit {commit} of the hub"
        text += f", {size(whole)} of weights." if whole is not None else "; its size is not known."
        findings.append(Finding(role, "ok", text))
        sizes.append(Weights(role, engine.device, whole, True, missing))
    return findings, sizes


def _stored(folder: Path, settings: ModelSettings) -> int:
    """Return the bytes of the files that are loaded: one format, not each that lies there."""
    if settings.gguf_file is not None:
        return (folder / settings.gguf_file).stat().st_size
    for ending in _WEIGHTS:
        files = [file for file in folder.iterdir() if file.suffix == ending]
        if files:
            return sum(file.stat().st_size for file in files)
    return 0


def _loaded(stored: int, folder: Path, settings: ModelSettings) -> int | None:
    """Return the bytes in memory: another dtype than the files' makes them larger or smaller."""
    if settings.gguf_file is not None:
        return None  # dequantised when loaded, by an unknown factor
    if settings.dtype == "auto":
        return stored
    try:
        config: Mapping[str, object] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        own = _BYTES[str(config.get("dtype") or config.get("torch_dtype"))]
    except (OSError, ValueError, KeyError, AttributeError):
        return stored
    return stored * _BYTES[settings.dtype] // own


def _hub(settings: ModelSettings, revision: str | None) -> tuple[int | None, int | None]:
    """Return a hub model's bytes of weights, whole and not yet in the cache; None where the hub does not tell."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        info = HfApi().model_info(settings.model, revision=revision, files_metadata=True, timeout=20)
    except (OSError, ValueError, HTTPError):  # offline, gated, no such name: the run says which
        return None, None
    files = {one.rfilename: one.size or 0 for one in info.siblings or []}
    if settings.gguf_file is not None:
        chosen = {name: count for name, count in files.items() if name == settings.gguf_file}
    else:
        chosen = {}
        for ending in _WEIGHTS:
            chosen = chosen or {name: count for name, count in files.items() if name.endswith(ending)}
    missing = {
        name: count
        for name, count in chosen.items()
        if not isinstance(try_to_load_from_cache(settings.model, name, revision=revision), str)
    }
    return sum(chosen.values()), sum(missing.values())
