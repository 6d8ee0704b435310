"""The files of a model: which ones it needs, whether the weights are intact, and their hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gate.common.canonical import digest
from gate.config import EngineSettings, ModelSettings
from gate.engines.extra import require_packages
from gate.errors import ModelError

_TOKENIZER = re.compile(r"(tokenizer.*|vocab\..*|merges\.txt|special_tokens_map\.json|added_tokens\.json|.*\.model"
                        r"|.*\.tiktoken|chat_template.*|sentencepiece.*)")  # fmt: skip
_TOKENIZER_NAMES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
_PICKLE = (".bin", ".pt", ".pth", ".ckpt")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_SAFE = (".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken")
_MOST_LABELS = 1_000_000
TOKENIZER_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")


def check_weights(folder: Path, settings: ModelSettings) -> None:
    """Check that a folder holds intact weights.

    Raises
    ------
    ModelError
        The weights are missing, truncated, or pickled without `allow_pickle`.
    """
    name = settings.model
    if settings.gguf_file is not None:
        if not (folder / settings.gguf_file).is_file():
            files = ", ".join(_names(folder.glob("*.gguf"))) or "none"
            raise ModelError(f"model {name}: no file {settings.gguf_file} in {folder}; GGUF files there: {files}.")
        return
    if not (folder / "config.json").is_file():
        gguf = _names(folder.glob("*.gguf"))
        hint = f"Set gguf_file: {gguf[0]}." if gguf else "Expected a folder that save_pretrained wrote."
        if (folder / "adapter_config.json").is_file():
            hint = "It holds a PEFT adapter: write `model:` for its base model, and `adapter:` for this folder."
        raise ModelError(f"model {name}: no config.json in {folder}.", hint)
    _check_labels(folder / "config.json", name)
    weights = safetensors_files(folder, name)
    for file in weights:
        _check_safetensors(file, name)
    pickles = _names(file for file in folder.iterdir() if file.suffix in _PICKLE)
    if not weights and not pickles:
        raise ModelError(
            f"model {name}: no weights in {folder}.",
            "Expected model.safetensors, or model.safetensors.index.json with its shards.",
        )
    if not weights and not settings.allow_pickle:
        raise ModelError(
            f"model {name}: {folder} has only pickled weights ({', '.join(pickles[:3])}), which can run code.",
            "Convert them (save_pretrained writes safetensors), or set allow_pickle: true if you trust the source.",
        )


def _check_labels(config: Path, name: str) -> None:
    """Refuse a number of labels for which transformers would fill the memory with their names."""
    try:
        labels = json.loads(config.read_text(encoding="utf-8")).get("num_labels", 0)
    except (OSError, ValueError, AttributeError, RecursionError):
        return  # the loader explains it
    if not isinstance(labels, int) or labels > _MOST_LABELS:
        raise ModelError(
            f"model {name}: num_labels in {config}: expected at most {_MOST_LABELS:,}, found {str(labels)[:30]}.",
            "A causal language model has no labels: remove the key.",
        )


def refuse_encoder_decoder(folder: Path, name: str) -> None:
    """Refuse a model with an encoder: transformers would load its decoder alone.

    Raises
    ------
    ModelError
        config.json says that the model is one.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        encoder_decoder, kind = bool(config.get("is_encoder_decoder")), config.get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError):
        return  # the loader explains it
    if encoder_decoder:
        raise ModelError(
            f"model {name}: it is an encoder-decoder model (model_type {kind}, is_encoder_decoder in config.json); "
            "expected a causal language model.",
            "Models with an encoder cannot be evaluated.",
        )


def _names(files: Iterable[Path]) -> list[str]:
    return sorted(file.name for file in files)


def safetensors_files(folder: Path, name: str) -> list[Path]:
    """Return the safetensors files of a model, by its index if there is one.

    Raises
    ------
    ModelError
        The index is not valid, or a file that it names is missing.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    try:
        files = sorted(_indexed(index))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(f"model {name}: {index} is not a valid index of shards: {error}.") from None
    missing = _names(file for file in files if not file.is_file())
    if missing:
        raise ModelError(
            f"model {name}: {len(missing)} of {len(files)} weight files are missing: {', '.join(missing[:3])}.",
            "Copy or download the model again.",
        )
    return files


def _check_safetensors(file: Path, name: str) -> None:
    require_packages("safetensors")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np"):  # compares the header with the file's length
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"model {name}: {file} ({file.stat().st_size} bytes) is truncated or corrupt: {error}.",
            "Copy or download the file again.",
        ) from None


def weights_bytes(folder: Path, settings: ModelSettings) -> int:
    """Return the size of the files that are loaded, in bytes. Other formats in the folder do not count."""
    if settings.gguf_file is not None:
        return (folder / settings.gguf_file).stat().st_size
    for suffix in WEIGHT_SUFFIXES:
        files = [file for file in folder.iterdir() if file.suffix == suffix]
        if files:
            return sum(file.stat().st_size for file in files)
    return 0


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder holds a tokenizer."""
    return any((folder / name).is_file() for name in _TOKENIZER_NAMES)


def model_files(folder: Path, settings: ModelSettings, engine: EngineSettings) -> list[Path]:
    """Return the files that affect a model's numbers: weights, configuration, and code that may run."""
    if settings.gguf_file is not None:
        return [folder / settings.gguf_file]
    suffixes = _suffixes(settings) + ((".py",) if engine.trust_remote_code else ())
    files = set(folder.iterdir())
    for index in folder.glob("*.index.json"):
        try:
            files |= _indexed(index)  # may be in subfolders
        except (ValueError, KeyError, AttributeError, TypeError, OSError, RecursionError):
            continue  # not an index of weights; the file itself is hashed
    return [
        file
        for file in sorted(files)
        if file.suffix in suffixes and file.is_file() and not _TOKENIZER.fullmatch(file.name)
    ]


def _suffixes(settings: ModelSettings) -> tuple[str, ...]:
    return _SAFE + (_PICKLE if settings.allow_pickle else ())


def _indexed(index: Path) -> set[Path]:
    """Return the weight files that an index names, all in its own folder or below it."""
    names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    outside = [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name]
    if outside:
        raise ValueError(f"it names a file outside of the model's folder: {outside[0]!r}")
    return {index.parent / name for name in names}


def hash_files(folder: Path, files: list[Path]) -> str:
    """Return the SHA-256 of the names (relative to `folder`) and contents of files.

    Raises
    ------
    ModelError
        A file cannot be read.
    """

    def hash_file(file: Path) -> tuple[str, str]:
        try:
            with file.open("rb") as handle:
                return file.relative_to(folder).as_posix(), hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"{file} cannot be read: {error}.") from None

    with ThreadPoolExecutor() as pool:  # hashlib releases the GIL
        return digest(list(pool.map(hash_file, files)))


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files of a folder's tokenizer and chat template."""
    return [file for file in sorted(folder.iterdir()) if file.is_file() and _TOKENIZER.fullmatch(file.name)]


def download_patterns(settings: ModelSettings, engine: EngineSettings) -> list[str]:
    """Return name patterns of the files of a hub repository that a model needs."""
    if settings.gguf_file is not None:
        patterns = [settings.gguf_file, "*.json"]
    else:
        patterns = [f"*{suffix}" for suffix in _suffixes(settings)]
    return [*patterns, "*.py"] if engine.trust_remote_code else patterns
