"""Whole texts as rows to score: disjoint windows, the way LM Evaluation Harness cuts them."""

from __future__ import annotations

from collections.abc import Sequence

from gate.engines.base import RollingRequest
from gate.engines.tokens.requests import Row, Target, Tokenizer, beginning, encode
from gate.errors import EvaluationError


def rolling_rows(tokenizer: Tokenizer, requests: Sequence[RollingRequest], max_length: int) -> list[Row]:
    """Make rows in which every token of every text is scored once.

    The first window starts with BOS (or EOS) and scores as many tokens as the model reads; each later one starts with
    one token of context; the last one is filled up with context on its left. Texts are tokenised without special
    tokens.

    Raises
    ------
    EvaluationError
        The tokenizer has neither BOS nor EOS.
    """
    first = beginning(tokenizer)
    if first is None:
        raise EvaluationError(
            "the tokenizer has neither BOS nor EOS; a text's first token needs one before it."
        )
    texts = [request.text for request in requests]
    rows = []
    for number, tokens in enumerate(encode(tokenizer, texts, special=False)):
        whole = (first, *tokens)
        for part, start in enumerate(range(0, len(tokens), max_length)):
            end = min(start + max_length, len(tokens))  # of the tokens that this window scores
            ids = whole[start + 1 : end + 1]
            read = whole[max(0, end - max_length) : end]
            rows.append(Row(read, (Target((number, part), len(read), ids),)))
    return rows
