"""Where a model's files are, whether they are sound, and their identity. No torch here: this keys the cache."""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gate.config import EngineSettings, ModelSettings
from gate.engines import hub
from gate.engines.base import ModelIdentity
from gate.errors import ModelError
from gate.tasks import digest

_TOKENIZER = re.compile(r"(tokenizer.*|vocab\..*|merges\.txt|special_tokens_map\.json|added_tokens\.json|.*\.model"
                        r"|.*\.tiktoken|chat_template.*|sentencepiece.*)")  # fmt: skip
_PICKLE = (".bin", ".pt", ".pth", ".ckpt")
_READ = (".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken")


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
    """A model that was found: a local folder, or a commit on the hub.

    Attributes
    ----------
    settings : ModelSettings
    folder : Path or None
        Its files; None for a hub model until `fetch`.
    revision : str or None
        The hub commit that they are.
    tokenizer_folder : Path or None
        Where the tokenizer comes from: the model's own folder, or one that stands in for it; set by `fetch`.
    """

    settings: ModelSettings
    folder: Path | None
    revision: str | None
    tokenizer_folder: Path | None = None

    @property
    def gguf_tokenizer(self) -> bool:
        """Tell whether the tokenizer is inside the GGUF file."""
        return self.settings.gguf_file is not None and self.tokenizer_folder == self.folder


def locate(settings: ModelSettings, base: Path) -> ModelSource:
    """Find a model, without downloading it, and check that a local one is whole.

    Parameters
    ----------
    settings : ModelSettings
    base : Path
        Folder that a relative model path starts from.

    Raises
    ------
    ModelError
        No such model; no weights, truncated weights, or pickled weights that were not allowed.
    """
    folder = _local(settings, base)
    if folder is None:
        return ModelSource(settings, None, hub.commit(settings))
    check_weights(folder, settings)
    return ModelSource(settings, folder, None)


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
    if folder is None:
        folder = hub.download(settings, source.revision, _patterns(settings, engine))
        check_weights(folder, settings)
    ships = settings.gguf_file is not None or _ships_tokenizer(folder)
    if settings.tokenizer == "baseline" or (settings.tokenizer is None and not ships):
        if baseline is None:
            raise ModelError(
                f"model {settings.model}: no tokenizer files in {folder}.",
                "Add the tokenizer's files to the folder, or set `tokenizer:` to a folder or hub name.",
            )
        lender = baseline if baseline.tokenizer_folder else fetch(baseline, engine, base, None)
        return ModelSource(settings, folder, source.revision, lender.tokenizer_folder)
    if settings.tokenizer is None:
        return ModelSource(settings, folder, source.revision, folder)
    other = ModelSettings(model=settings.tokenizer)
    tokenizer = _local(other, base) or hub.download(other, None, ["*.json", "*.txt", "*.model", "*.jinja"])
    return ModelSource(settings, folder, source.revision, tokenizer)


def identify(source: ModelSource, engine: EngineSettings, base: Path) -> ModelIdentity:
    """Identify a model by what it consists of: its hub commit, or the contents of its files.

    Raises
    ------
    ModelError
        A file cannot be read.
    """
    settings = source.settings
    libraries = ", ".join(f"{name} {found}" for name in _LIBRARIES if (found := _version(name)) is not None)
    trust = " trust_remote_code" if engine.trust_remote_code else ""
    weights = tokenizer = f"hub {settings.model}@{source.revision}"
    if source.folder is not None:
        weights = _hash_files(_model_files(source.folder, settings, engine))
        tokenizer = _hash_files(_tokenizer_files(source.folder))
    elif settings.gguf_file is not None:
        weights += f"/{settings.gguf_file}"
    if settings.tokenizer is not None:
        own = (
            None
            if settings.tokenizer == "baseline"
            else _local(ModelSettings(model=settings.tokenizer), base)
        )
        tokenizer = settings.tokenizer if own is None else _hash_files(_tokenizer_files(own))
    return ModelIdentity(
        name=settings.model,
        revision=source.revision,
        weights=weights,
        tokenizer=tokenizer,
        dtype=settings.dtype,
        engine=f"{engine.kind}({libraries}, attention {engine.attn_implementation or 'default'}{trust})",
    )


def check_weights(folder: Path, settings: ModelSettings) -> None:
    """Refuse a folder without weights, with truncated safetensors, or with pickle only.

    Raises
    ------
    ModelError
    """
    name = settings.model
    if settings.gguf_file is not None:
        if not (folder / settings.gguf_file).is_file():
            found = ", ".join(sorted(file.name for file in folder.glob("*.gguf"))) or "none"
            raise ModelError(
                f"model {name}: no file {settings.gguf_file} in {folder}; GGUF files there: {found}."
            )
        return
    if not (folder / "config.json").is_file():
        gguf = sorted(file.name for file in folder.glob("*.gguf"))
        hint = f"Set gguf_file: {gguf[0]}." if gguf else "Expected a folder that save_pretrained wrote."
        if (folder / "adapter_config.json").is_file():
            hint = "It holds a PEFT adapter: merge it into its base model first."
        raise ModelError(f"model {name}: no config.json in {folder}.", hint)
    weights = _safetensors(folder, name)
    for file in weights:
        _check_safetensors(file, name)
    if weights:
        return
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLE)
    if pickles and not settings.allow_pickle:
        raise ModelError(
            f"model {name}: {folder} has only pickled weights ({', '.join(pickles[:3])}), which can run code.",
            "Convert them (save_pretrained writes safetensors), or set allow_pickle: true if you trust the source.",
        )
    if not pickles:
        raise ModelError(
            f"model {name}: no weights in {folder}.",
            "Expected model.safetensors, or model.safetensors.index.json with its shards.",
        )


def _safetensors(folder: Path, name: str) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"model {name}: {index} is not a readable index of shards: {error}.") from None
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise ModelError(
            f"model {name}: {len(missing)} of {len(shards)} weight files are missing: {', '.join(missing[:3])}.",
            "Copy or download the model again.",
        )
    return [folder / shard for shard in shards]


def _check_safetensors(file: Path, name: str) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np"):  # reads the header and compares it with the file's length
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"model {name}: {file} ({file.stat().st_size} bytes) is truncated or broken: {error}.",
            "Copy or download the file again.",
        ) from None


def _ships_tokenizer(folder: Path) -> bool:
    return any(
        (folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
    )


def _model_files(folder: Path, settings: ModelSettings, engine: EngineSettings) -> list[Path]:
    if settings.gguf_file is not None:
        return [folder / settings.gguf_file]
    kinds = (
        _READ + (_PICKLE if settings.allow_pickle else ()) + ((".py",) if engine.trust_remote_code else ())
    )
    files = [file for file in sorted(folder.iterdir()) if file.suffix in kinds]
    return [file for file in files if file.is_file() and not _TOKENIZER.fullmatch(file.name)]


def _hash_files(files: list[Path]) -> str:
    def one(file: Path) -> tuple[str, str]:
        try:
            with file.open("rb") as handle:
                return file.name, hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"{file} cannot be read: {error}.") from None

    with ThreadPoolExecutor() as pool:  # hashlib releases the interpreter lock
        return digest(list(pool.map(one, files)))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _tokenizer_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.is_file() and _TOKENIZER.fullmatch(file.name)]


def _patterns(settings: ModelSettings, engine: EngineSettings) -> list[str]:
    """Return which files of a hub repository are needed."""
    if settings.gguf_file is not None:
        patterns = [settings.gguf_file, "*.json"]
    else:
        patterns = [f"*{ending}" for ending in _READ + (_PICKLE if settings.allow_pickle else ())]
    return [*patterns, "*.py"] if engine.trust_remote_code else patterns


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
