"""Rows of a forward pass: token ids, and the continuations that are scored in them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from gate.engines.tokens.sequences import rolling_texts, rolling_windows, scored_sequences, texts_to_encode
from gate.engines.tokens.tokenizer import Tokenizer, encode, prefix_token
from gate.tasks.requests import LoglikelihoodRequest, RollingRequest

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """A continuation to score inside a row.

    Attributes
    ----------
    indices : (int, int)
        Indices of the request and of the continuation (or of the window of a rolling text).
    end : int
        Number of the row's tokens that are its input: the context and all but the last of `ids`.
    ids : tuple of int
        The continuation's tokens.
    """

    indices: tuple[int, int]
    end: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """Input tokens of a forward pass, and the continuations that are scored in it.

    In a causal model the logits of a prefix do not depend on later tokens, so a continuation whose tokens are a prefix
    of another row is scored in that row. All single-token choices of an item share one.
    """

    tokens: tuple[int, ...]
    targets: tuple[Target, ...]

    @property
    def first(self) -> int:
        """Position whose logits predict the first scored token."""
        return min(target.end - len(target.ids) for target in self.targets)


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the longest common prefix."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low + 1 < high:  # the first `low` tokens are equal, the first `high` are not; slices compare at C speed
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def scoring_rows(tokenizer: Tokenizer, requests: Sequence[LoglikelihoodRequest], max_length: int) -> list[Row]:
    """Return the rows of a batch of log-likelihood requests. Errors are those of `scored_sequences`.

    Rows over `max_length` tokens lose tokens on the left, with a warning.
    """
    texts = texts_to_encode(requests)
    encoded = dict(zip(texts, encode(tokenizer, texts), strict=True))
    prefix = prefix_token(tokenizer)
    targets: dict[tuple[int, ...], list[Target]] = {}
    truncated = total = 0
    for index, request in enumerate(requests):
        for number, sequence in enumerate(scored_sequences(request, encoded, prefix, max_length)):
            tokens = sequence.ids[:-1]
            target = Target((index, number), len(tokens), sequence.ids[sequence.start :])
            targets.setdefault(tokens, []).append(target)
            truncated += sequence.truncated
            total += 1
    if truncated:
        _LOG.warning(
            "%d of %d prompts are longer than the model's %d tokens; they were cut on the left",
            truncated,
            total,
            max_length,
        )
    return _merge_prefixes(targets)


def rolling_rows(tokenizer: Tokenizer, requests: Sequence[RollingRequest], max_length: int) -> list[Row]:
    """Return rows that score each token of each text once. Errors are those of `rolling_sequences`."""
    prefix = prefix_token(tokenizer)
    texts = list(dict.fromkeys(text for request in requests for text in rolling_texts(request)))
    encoded = dict(zip(texts, encode(tokenizer, texts, special=False), strict=True))
    rows = []
    for index, request in enumerate(requests):
        for number, window in enumerate(rolling_windows(request, encoded, prefix, max_length)):
            tokens = window.ids[:-1]
            rows.append(Row(tokens, (Target((index, number), len(tokens), window.ids[window.start :]),)))
    return rows


def _merge_prefixes(targets: dict[tuple[int, ...], list[Target]]) -> list[Row]:
    """Merge each row that is a prefix of another row into that row."""
    rows: list[Row] = []
    # the rows of a few-shot task share a long prefix: comparing only what follows it is much faster
    shared = common_length(min(targets, default=()), max(targets, default=()))
    # in reverse order, a row's extensions come directly before it
    for tokens in sorted(targets, key=lambda row: row[shared:], reverse=True):
        if rows and rows[-1].tokens[: len(tokens)] == tokens:
            rows[-1] = Row(rows[-1].tokens, (*rows[-1].targets, *targets[tokens]))
        else:
            rows.append(Row(tokens, tuple(targets[tokens])))
    return rows
