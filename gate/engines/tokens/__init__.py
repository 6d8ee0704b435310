"""Text to token ids, for all engines. Importing this package imports neither torch nor transformers."""

from __future__ import annotations

from gate.engines.tokens.load import load_tokenizer, tokenizer_digest
from gate.engines.tokens.rows import Row, Target, common_length, rolling_rows, scoring_rows
from gate.engines.tokens.sequences import (
    ScoredSequence,
    generation_prompts,
    joined_texts,
    rolling_sequences,
    scored_sequences,
    texts_to_encode,
)
from gate.engines.tokens.tokenizer import Tokenizer, encode, prefix_token, render_chat

__all__ = [
    "Row",
    "ScoredSequence",
    "Target",
    "Tokenizer",
    "common_length",
    "encode",
    "generation_prompts",
    "joined_texts",
    "load_tokenizer",
    "prefix_token",
    "render_chat",
    "rolling_rows",
    "rolling_sequences",
    "scored_sequences",
    "scoring_rows",
    "texts_to_encode",
    "tokenizer_digest",
]
