"""A transformers tokenizer from a model's files, and its identity."""

from __future__ import annotations

import json
from typing import Any

from gate.common.canonical import digest
from gate.config import EngineSettings
from gate.engines.source import ModelSource
from gate.engines.tokens.growth import check_growth
from gate.errors import ModelError, is_panic


def load_tokenizer(source: ModelSource, engine: EngineSettings) -> Any:
    """Load a source's tokenizer, with padding on the left.

    Raises
    ------
    ModelError
        It cannot be loaded.
    """
    from transformers import AutoTokenizer

    folder, gguf_file = source.tokenizer_folder, source.settings.gguf_file
    if folder is not None:
        check_growth(folder, source.settings.model)
    # a GGUF file contains its tokenizer; `tokenizer:` may name another folder
    options = {"gguf_file": gguf_file} if gguf_file is not None and folder == source.folder else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=engine.trust_remote_code, local_files_only=True, **options
        )
    except BaseException as error:  # a broken file can raise anything, also a panic
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model {source.settings.model}: the tokenizer in {folder} cannot be loaded: {reason}",
            "Set `tokenizer:` to a folder or hub name with tokenizer files, or to `baseline`.",
        ) from error
    if not isinstance(tokenizer.model_max_length, int | float):
        raise ModelError(
            f"model {source.settings.model}: model_max_length in {folder}: expected a number of tokens, found "
            f"{tokenizer.model_max_length!r}.",
            "Correct tokenizer_config.json.",
        )
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def tokenizer_digest(tokenizer: Any) -> str:
    """Return a SHA-256 of the tokenizer's behaviour: vocabulary, pipeline and added tokens, not the files' layout."""
    backend = getattr(tokenizer, "backend_tokenizer", None)  # None: a tokenizer written in Python
    if backend is None:
        return digest([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    state = ("version", "truncation", "padding")  # of the library and the last call
    return digest({key: value for key, value in json.loads(backend.to_str()).items() if key not in state})
