"""Locate a model's files, and identify the model. Nothing is loaded: the identity keys the cache of samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gate.common.packages import installed_version
from gate.config import EngineSettings, ModelSettings
from gate.engines import hub
from gate.engines.adapter import adapter_identity, adapter_patterns, check_adapter, refuse_embedded_adapter
from gate.engines.base import ModelIdentity
from gate.engines.files import (
    TOKENIZER_PATTERNS,
    check_weights,
    download_patterns,
    has_tokenizer,
    hash_files,
    model_files,
    refuse_encoder_decoder,
    safetensors_files,
    tokenizer_files,
)
from gate.engines.hf import SCORING
from gate.engines.quantization import check_declared_method
from gate.errors import ModelError

# the libraries that compute the numbers, in the order of the fingerprint; those that are not installed are left out
_LIBRARIES = (
    "transformers",
    "torch",
    "tokenizers",
    "torchao",
    "bitsandbytes",
    "compressed-tensors",
    "gptqmodel",
    "autoawq",
)


@dataclass(frozen=True)
class ModelSource:
    """A model in a local folder, on the hub, or on a server.

    Attributes
    ----------
    folder : Path or None
        The model's files; None for a hub model before `fetch`, and for a served model.
    revision : str or None
        The model's commit on the hub.
    tokenizer_folder : Path or None
        The tokenizer's files, set by `fetch`: the model's own folder or another. None if the server tokenises.
    tokenizer_revision : str or None
        The tokenizer's commit on the hub, if `tokenizer:` names one there.
    served : bool
        Whether a server holds the model.
    adapter_folder : Path or None
        The files of the adapter that `adapter:` names; None without one, and for one on the hub before `fetch`.
    adapter_revision : str or None
        The adapter's commit on the hub.
    """

    settings: ModelSettings
    folder: Path | None
    revision: str | None
    tokenizer_folder: Path | None = None
    tokenizer_revision: str | None = None
    served: bool = False
    adapter_folder: Path | None = None
    adapter_revision: str | None = None


def locate(settings: ModelSettings, base: Path, engine: EngineSettings | None = None) -> ModelSource:
    """Locate a model without downloading it, and check that a local one is complete.

    Parameters
    ----------
    base : Path
        Folder that relative model paths start from.
    engine : EngineSettings, optional
        The model's engine. With `kind: openai`, the model is a name on the server; `identify` queries it.

    Raises
    ------
    ModelError
        The model does not exist; its weights are missing, truncated, pickled without `allow_pickle`, or quantised by a
        method that transformers does not apply; it has an encoder; `revision` is set for a local folder.
    """
    tokenizer, commit = _tokenizer_model(settings), None
    if tokenizer is not None and _local_folder(tokenizer, base) is None:
        commit = hub.commit(tokenizer)
    if engine is not None and engine.kind != "transformers" and settings.changes_on_load:
        raise ModelError(
            f"model {settings.model}: {', '.join(settings.changes_on_load)}: only `engine: {{kind: transformers}}` "
            f"changes weights on loading, not {engine.kind}.",
            "Remove the keys, and use the arguments of the server.",
        )
    if engine is not None and engine.kind == "openai":
        return ModelSource(settings, None, None, None, commit, served=True)
    folder = _local_folder(settings, base)
    if folder is None:
        return _with_adapter(ModelSource(settings, None, hub.commit(settings), None, commit), base)
    if settings.revision is not None:  # the report would name a commit that the files may not have
        raise ModelError(
            f"model {settings.model}: revision {settings.revision} is set, but {folder} is a local folder, "
            "which has no revisions.",
            "Use the model's name on the hub (owner/name), or remove `revision`.",
        )
    _check_files(folder, settings, engine)
    return _with_adapter(ModelSource(settings, folder, None, None, commit), base)


def fetch(source: ModelSource, engine: EngineSettings, base: Path, baseline: ModelSource | None) -> ModelSource:
    """Download a hub model if it is not cached, and locate its tokenizer.

    Parameters
    ----------
    engine : EngineSettings
        `trust_remote_code` decides whether code is downloaded.
    base : Path
        Folder that relative paths start from.
    baseline : ModelSource or None
        Its tokenizer is used for a candidate without one, or with `tokenizer: baseline`.

    Raises
    ------
    ModelError
        As for `locate`; or there is no tokenizer.
    """
    settings, folder = source.settings, source.folder
    if folder is None and not source.served:
        folder = hub.download(settings, source.revision, download_patterns(settings, engine))
        _check_files(folder, settings, engine)
    has_own = folder is not None and (settings.gguf_file is not None or has_tokenizer(folder))
    if settings.tokenizer == "baseline" or (settings.tokenizer is None and not has_own):
        if baseline is None and source.served and settings.tokenizer is None:
            return source
        if baseline is None:
            raise ModelError(
                f"model {settings.model}: no tokenizer files in {folder or 'the server'}.",
                "Add the tokenizer's files to the folder, or set `tokenizer:` to a folder or hub name.",
            )
        tokenizer = _baseline_tokenizer(baseline, engine, base)
    else:
        tokenizer = _fetch_tokenizer(source, base) or folder
    return replace(source, folder=folder, tokenizer_folder=tokenizer, adapter_folder=_fetch_adapter(source))


def _with_adapter(source: ModelSource, base: Path) -> ModelSource:
    """Locate the adapter that `adapter:` names."""
    settings = source.settings
    if settings.adapter is None:
        return source
    adapter = ModelSettings(model=settings.adapter)
    folder = _local_folder(adapter, base)
    if folder is None:
        return replace(source, adapter_revision=hub.commit(adapter))
    check_adapter(folder, settings)
    return replace(source, adapter_folder=folder)


def _fetch_adapter(source: ModelSource) -> Path | None:
    """Return the folder of the adapter, downloaded if it is on the hub."""
    settings = source.settings
    if settings.adapter is None or source.adapter_folder is not None:
        return source.adapter_folder
    adapter = ModelSettings(model=settings.adapter)
    folder = hub.download(adapter, source.adapter_revision, list(adapter_patterns(settings)))
    check_adapter(folder, settings)
    return folder


def _check_files(folder: Path, settings: ModelSettings, engine: EngineSettings | None) -> None:
    """Check that the weights are intact, and that transformers applies their quantisation if it loads them."""
    loaded_here = settings.gguf_file is None and (engine is None or engine.kind == "transformers")
    if loaded_here and not any(folder.glob("*.safetensors")):
        check_declared_method(folder, settings.model, ())  # the method explains more than the pickled file that it has
    check_weights(folder, settings)
    if loaded_here:
        refuse_encoder_decoder(folder, settings.model)
        refuse_embedded_adapter(folder, settings)
        check_declared_method(folder, settings.model, safetensors_files(folder, settings.model))


def identify(source: ModelSource, engine: EngineSettings, base: Path) -> ModelIdentity:
    """Identify a model by its hub commit, the contents of its files, or its server (`gate.engines.openai.identity`).

    Raises
    ------
    ModelError
        A file cannot be read; the server serves another model.
    ConfigError
        The program of a server to start is missing, or cannot serve the model.
    EvaluationError
        The server is unreachable.
    """
    settings = source.settings
    if engine.kind == "served":
        from gate.engines.served.command import check_model

        check_model(engine, settings)
    if source.served:
        from gate.engines.openai.identity import identify_served

        return identify_served(settings, engine, _tokenizer_identity(source, base))
    weights = tokenizer = f"hub {settings.model}@{source.revision}"
    if source.folder is not None:
        weights = hash_files(source.folder, model_files(source.folder, settings, engine))
        tokenizer = hash_files(source.folder, tokenizer_files(source.folder))
    elif settings.gguf_file is not None:
        weights += f"/{settings.gguf_file}"
    return ModelIdentity(
        name=settings.model,
        revision=source.revision,
        weights=weights,
        tokenizer=_tokenizer_identity(source, base) or tokenizer,
        dtype=settings.dtype,
        engine=engine_name(engine, base),
        load_quantization=settings.load_quantization,
        adapter=adapter_identity(source.adapter_folder, settings, source.adapter_revision),
    )


def engine_name(engine: EngineSettings, base: Path) -> str:
    """Return the engine in an identity: its settings that affect the numbers, and the versions of its libraries.

    Relative paths of a served engine's program start from `base`.
    """
    if engine.kind == "served":
        from gate.engines.served.command import served_engine_name

        return served_engine_name(engine, base)
    versions = ((name, installed_version(name)) for name in _LIBRARIES)
    libraries = ", ".join(f"{name} {version}" for name, version in versions if version is not None)
    trust = " trust_remote_code" if engine.trust_remote_code else ""
    attention = engine.attn_implementation or "default"
    return f"{engine.kind}({libraries}, scoring {SCORING}, attention {attention}{trust})"


def _tokenizer_identity(source: ModelSource, base: Path) -> str:
    """Return the identity of the tokenizer that `tokenizer:` names, or an empty string if it is not set."""
    tokenizer = _tokenizer_model(source.settings)
    if tokenizer is None:
        return source.settings.tokenizer or ""
    folder = _local_folder(tokenizer, base)
    if folder is None:
        return f"hub {tokenizer.model}@{source.tokenizer_revision}"
    return hash_files(folder, tokenizer_files(folder))


def _tokenizer_model(settings: ModelSettings) -> ModelSettings | None:
    """Return the folder or hub name in `tokenizer:` as the settings of a model."""
    return None if settings.tokenizer in (None, "baseline") else ModelSettings(model=settings.tokenizer)


def _fetch_tokenizer(source: ModelSource, base: Path) -> Path | None:
    """Return the folder of the tokenizer that `tokenizer:` names, or None if it names none."""
    tokenizer = _tokenizer_model(source.settings)
    if tokenizer is None:
        return None
    return _local_folder(tokenizer, base) or hub.download(tokenizer, source.tokenizer_revision, TOKENIZER_PATTERNS)


def _baseline_tokenizer(baseline: ModelSource, engine: EngineSettings, base: Path) -> Path | None:
    """Return the baseline's tokenizer without downloading its weights; None if only its server has it."""
    folder = baseline.tokenizer_folder or _fetch_tokenizer(baseline, base)
    if folder is not None or baseline.served:
        return folder
    settings = baseline.settings
    if settings.gguf_file is not None:
        return fetch(baseline, engine, base, None).tokenizer_folder
    patterns = [*TOKENIZER_PATTERNS, *(["*.py"] if engine.trust_remote_code else [])]
    folder = baseline.folder or hub.download(settings, baseline.revision, patterns)
    if not has_tokenizer(folder):
        raise ModelError(
            f"model {settings.model}: no tokenizer files in {folder}, so the candidate cannot use its tokenizer.",
            "Set `tokenizer:` to a folder or hub name.",
        )
    return folder


def _local_folder(settings: ModelSettings, base: Path) -> Path | None:
    """Return the local folder that a model names, or None for a name on the hub."""
    name = settings.model
    local = (base / Path(name).expanduser()).resolve()
    if local.is_dir():
        return local
    if local.is_file():
        hint = f"Write model: {Path(name).parent} and gguf_file: {Path(name).name}."
        raise ModelError(
            f"model {name}: this is a file; expected its folder.", hint if local.suffix == ".gguf" else None
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise ModelError(f"model {name}: the folder {local} does not exist.")
    return None
