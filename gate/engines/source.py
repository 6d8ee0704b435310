"""Where a model's files are, whether they are sound, and their identity. No torch here: this keys the cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gate.config import EngineSettings, ModelSettings
from gate.engines import hub
from gate.engines.base import ModelIdentity
from gate.engines.files import (
    TOKENIZER_PATTERNS,
    check_weights,
    hash_files,
    model_files,
    patterns,
    ships_tokenizer,
    tokenizer_files,
)
from gate.engines.hf import SCORING
from gate.errors import ModelError

# what computes the numbers; the quantisers count where they are installed
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
    """A model that was found: a local folder, a commit on the hub, or a name that a server serves.

    Attributes
    ----------
    settings : ModelSettings
    folder : Path or None
        Its files; None for a hub model until `fetch`.
    revision : str or None
        The hub commit that they are.
    tokenizer_folder : Path or None
        Where the tokenizer comes from: the model's own folder, or one that stands in for it; set by `fetch`. None
        for a served model whose texts the server tokenises.
    tokenizer_revision : str or None
        The hub commit of a tokenizer that `tokenizer:` names on the hub.
    served : bool
        Whether a server holds it.
    """

    settings: ModelSettings
    folder: Path | None
    revision: str | None
    tokenizer_folder: Path | None = None
    tokenizer_revision: str | None = None
    served: bool = False

    @property
    def gguf_tokenizer(self) -> bool:
        """Tell whether the tokenizer is inside the GGUF file."""
        return self.settings.gguf_file is not None and self.tokenizer_folder == self.folder


def locate(settings: ModelSettings, base: Path, engine: EngineSettings | None = None) -> ModelSource:
    """Find a model, without downloading it, and check that a local one is whole.

    Parameters
    ----------
    settings : ModelSettings
    base : Path
        Folder that a relative model path starts from.
    engine : EngineSettings, optional
        In force for the model; where it is a server's, the model is a name there, which `identify` asks for.

    Raises
    ------
    ModelError
        No such model; no weights, truncated weights, or pickled weights that were not allowed; a revision of a local
        folder.
    """
    named = _named_tokenizer(settings)
    commit = None if named is None or _local(named, base) is not None else hub.commit(named)
    if engine is not None and engine.kind == "openai":
        return ModelSource(settings, None, None, None, commit, served=True)
    folder = _local(settings, base)
    if folder is None:
        return ModelSource(settings, None, hub.commit(settings), None, commit)
    if settings.revision is not None:  # the report must name no commit that the files need not be
        raise ModelError(
            f"model {settings.model}: revision {settings.revision} is set, but {folder} is a local folder, "
            "which has none.",
            "Name the hub's model (owner/name), or remove `revision`.",
        )
    check_weights(folder, settings)
    return ModelSource(settings, folder, None, None, commit)


def fetch(
    source: ModelSource, engine: EngineSettings, base: Path, baseline: ModelSource | None
) -> ModelSource:
    """Download a hub model where it is not here yet, and find its tokenizer.

    Parameters
    ----------
    source : ModelSource
    engine : EngineSettings
        For trust_remote_code.
    base : Path
        Folder that relative paths start from.
    baseline : ModelSource or None
        Lends its tokenizer to a candidate that ships none, or that asks for it (`tokenizer: baseline`).

    Raises
    ------
    ModelError
        As `locate`; no tokenizer.
    """
    settings = source.settings
    folder = source.folder
    if folder is None and not source.served:
        folder = hub.download(settings, source.revision, patterns(settings, engine))
        check_weights(folder, settings)
    ships = folder is not None and (settings.gguf_file is not None or ships_tokenizer(folder))
    if settings.tokenizer == "baseline" or (settings.tokenizer is None and not ships):
        if baseline is None and source.served and settings.tokenizer is None:
            return source
        if baseline is None:
            raise ModelError(
                f"model {settings.model}: no tokenizer files in {folder or 'the server'}.",
                "Add the tokenizer's files to the folder, or set `tokenizer:` to a folder or hub name.",
            )
        tokenizer = _lent_tokenizer(baseline, engine, base)
    elif settings.tokenizer is None:
        tokenizer = folder
    else:
        tokenizer = _fetch_named(source, base)
    return replace(source, folder=folder, tokenizer_folder=tokenizer)


def identify(source: ModelSource, engine: EngineSettings, base: Path) -> ModelIdentity:
    """Identify a model by what it consists of: its hub commit, or the contents of its files.

    A served model is asked; see `gate.engines.openai.identity`.

    Raises
    ------
    ModelError
        A file cannot be read; the server serves another model.
    EvaluationError
        The server cannot be reached.
    """
    settings = source.settings
    if source.served:
        from gate.engines.openai.identity import identify_served

        return identify_served(settings, engine, _tokenizer_identity(source, base))
    libraries = ", ".join(f"{name} {found}" for name in _LIBRARIES if (found := _version(name)) is not None)
    trust = " trust_remote_code" if engine.trust_remote_code else ""
    attention = engine.attn_implementation or "default"
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
        engine=f"{engine.kind}({libraries}, scoring {SCORING}, attention {attention}{trust})",
    )


def _tokenizer_identity(source: ModelSource, base: Path) -> str:
    """Return what stands for the tokenizer that `tokenizer:` names; empty where it names none."""
    named = _named_tokenizer(source.settings)
    if named is None:
        return source.settings.tokenizer or ""
    own = _local(named, base)
    return (
        f"hub {named.model}@{source.tokenizer_revision}"
        if own is None
        else hash_files(own, tokenizer_files(own))
    )


def _named_tokenizer(settings: ModelSettings) -> ModelSettings | None:
    """Return the folder or hub name that `tokenizer:` holds, as if it were a model's."""
    return None if settings.tokenizer in (None, "baseline") else ModelSettings(model=settings.tokenizer)


def _fetch_named(source: ModelSource, base: Path) -> Path:
    named = _named_tokenizer(source.settings)
    if named is None:
        raise ValueError("no tokenizer is named")
    return _local(named, base) or hub.download(named, source.tokenizer_revision, TOKENIZER_PATTERNS)


def _lent_tokenizer(baseline: ModelSource, engine: EngineSettings, base: Path) -> Path | None:
    """Return the baseline's tokenizer without downloading its weights; None where only its server has it."""
    if baseline.tokenizer_folder is not None:
        return baseline.tokenizer_folder
    if baseline.settings.tokenizer is not None:
        return _fetch_named(baseline, base)
    if baseline.served:
        return None
    settings = baseline.settings
    if settings.gguf_file is not None:
        return fetch(baseline, engine, base, None).tokenizer_folder
    wanted = [*TOKENIZER_PATTERNS, *(["*.py"] if engine.trust_remote_code else [])]
    folder = baseline.folder or hub.download(settings, baseline.revision, wanted)
    if not ships_tokenizer(folder):
        raise ModelError(
            f"model {settings.model}: no tokenizer files in {folder}, so that it has none to lend.",
            "Set `tokenizer:` to a folder or hub name.",
        )
    return folder


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _local(settings: ModelSettings, base: Path) -> Path | None:
    """Return the local folder that a model names, or None where it names one on the hub."""
    name = settings.model
    local = (base / Path(name).expanduser()).resolve()
    if local.is_dir():
        return local
    if local.is_file():
        raise ModelError(
            f"model {name}: this is a file; expected its folder.",
            f"Write model: {Path(name).parent} and gguf_file: {Path(name).name}."
            if local.suffix == ".gguf"
            else None,
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise ModelError(f"model {name}: the folder {local} does not exist.")
    return None
