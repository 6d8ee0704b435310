"""A model's files: which there are, whether the weights are sound, and their hash."""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gate.config import EngineSettings, ModelSettings
from gate.errors import ModelError
from gate.tasks import digest

_TOKENIZER = re.compile(r"(tokenizer.*|vocab\..*|merges\.txt|special_tokens_map\.json|added_tokens\.json|.*\.model"
                        r"|.*\.tiktoken|chat_template.*|sentencepiece.*)")  # fmt: skip
_PICKLE = (".bin", ".pt", ".pth", ".ckpt")
TOKENIZER_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
_READ = (".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken")


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


def ships_tokenizer(folder: Path) -> bool:
    """Tell whether a folder holds a tokenizer."""
    return any(
        (folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
    )


def model_files(folder: Path, settings: ModelSettings, engine: EngineSettings) -> list[Path]:
    """Return the files that decide a model's numbers: weights, settings, and code where it may run."""
    if settings.gguf_file is not None:
        return [folder / settings.gguf_file]
    kinds = (
        _READ + (_PICKLE if settings.allow_pickle else ()) + ((".py",) if engine.trust_remote_code else ())
    )
    files = {file for file in folder.iterdir() if file.suffix in kinds} | set(_shards_below(folder, kinds))
    return [file for file in sorted(files) if file.is_file() and not _TOKENIZER.fullmatch(file.name)]


def _shards_below(folder: Path, kinds: tuple[str, ...]) -> list[Path]:
    """Return the weight files that an index names, which may lie in folders below."""
    found: list[Path] = []
    for index in folder.glob("*.index.json"):
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError, OSError):
            continue  # not an index of weights; the file itself is hashed
        found += [folder / shard for shard in shards if isinstance(shard, str) and shard.endswith(kinds)]
    return found


def hash_files(folder: Path, files: list[Path]) -> str:
    """Return the SHA-256 over the names (from `folder`) and contents of files.

    Raises
    ------
    ModelError
        A file cannot be read.
    """

    def one(file: Path) -> tuple[str, str]:
        try:
            with file.open("rb") as handle:
                return file.relative_to(folder).as_posix(), hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"{file} cannot be read: {error}.") from None

    with ThreadPoolExecutor() as pool:  # hashlib releases the interpreter lock
        return digest(list(pool.map(one, files)))


def tokenizer_files(folder: Path) -> list[Path]:
    """Return a folder's files of the tokenizer and its chat template."""
    return [file for file in sorted(folder.iterdir()) if file.is_file() and _TOKENIZER.fullmatch(file.name)]


def patterns(settings: ModelSettings, engine: EngineSettings) -> list[str]:
    """Return which files of a hub repository are needed, as patterns of their names."""
    if settings.gguf_file is not None:
        patterns = [settings.gguf_file, "*.json"]
    else:
        patterns = [f"*{ending}" for ending in _READ + (_PICKLE if settings.allow_pickle else ())]
    return [*patterns, "*.py"] if engine.trust_remote_code else patterns
