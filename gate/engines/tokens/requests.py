"""From requests to token ids, the way LM Evaluation Harness does it, so that scores can be compared with its."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gate.engines.base import LoglikelihoodRequest
from gate.errors import EvaluationError

_LOG = logging.getLogger(__name__)


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    bos_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> dict[str, list[list[int]]]:
        """Tokenise a batch of texts."""


@dataclass(frozen=True)
class Target:
    """A continuation to score inside a row.

    Attributes
    ----------
    place : (int, int)
        Request and continuation.
    end : int
        How many of the row's tokens the model reads for it: context and all but the last token.
    ids : tuple of int
        The continuation's tokens.
    """

    place: tuple[int, int]
    end: int
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One row of a forward pass and the continuations that are scored in it.

    A model that reads from left to right gives a prefix the same logits whatever follows, so continuations whose
    tokens are a prefix of another's row need no row of their own: all single-token choices of a question share one.
    """

    tokens: tuple[int, ...]
    targets: tuple[Target, ...]

    @property
    def first(self) -> int:
        """Position whose logits predict the first scored token."""
        return min(target.end - len(target.ids) for target in self.targets)


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of leading tokens that two rows share."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low + 1 < high:  # the first `low` are equal, the first `high` are not; slices compare at C speed
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def beginning(tokenizer: Tokenizer) -> int | None:
    """Return the token that stands before a text's first: BOS, else EOS."""
    return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id


def encode(tokenizer: Tokenizer, texts: Sequence[str], special: bool = True) -> list[list[int]]:
    """Tokenise, with the special tokens that the tokenizer adds, unless the text already starts with BOS.

    With `special` False they are never added.
    """
    if not texts:
        return []
    if not special:
        return [list(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    bos = tokenizer.bos_token
    own = [bool(bos) and text.startswith(bos or "") for text in texts]
    encoded: list[list[int]] = [[]] * len(texts)
    for flag in (False, True):
        chosen = [index for index, has in enumerate(own) if has is flag]
        if chosen:
            ids = tokenizer([texts[index] for index in chosen], add_special_tokens=not flag)["input_ids"]
            for index, one in zip(chosen, ids, strict=True):
                encoded[index] = list(one)
    return encoded


def scoring_rows(
    tokenizer: Tokenizer, requests: Sequence[LoglikelihoodRequest], max_length: int
) -> list[Row]:
    """Make the rows of a batch of log-likelihood requests.

    White space at the end of a context moves to the continuation, and a continuation's tokens are those of
    the joined text after the context's: both as in LM Evaluation Harness. An empty context becomes BOS (or EOS).
    Rows over `max_length` tokens lose tokens on the left, with a warning.
    """
    places: list[tuple[int, int]] = []
    contexts: list[str] = []
    texts: list[str] = []
    for index, request in enumerate(requests):
        stripped = request.context.rstrip()
        moved = request.context[len(stripped) :]
        for number, continuation in enumerate(request.continuations):
            places.append((index, number))
            contexts.append(stripped)
            texts.append(stripped + moved + continuation)
    distinct = list(dict.fromkeys(contexts))
    context_lengths = dict(zip(distinct, map(len, encode(tokenizer, distinct)), strict=True))
    grouped: dict[tuple[int, ...], list[Target]] = {}
    cut = 0
    for place, context, ids in zip(places, contexts, encode(tokenizer, texts), strict=True):
        # a continuation keeps at least one token even where joining swallows its start
        start = min(context_lengths[context], len(ids) - 1) if context else 0
        if start < 1:  # nothing comes before the continuation's first token
            prefix = beginning(tokenizer)
            if prefix is not None and (not ids or ids[0] != prefix):
                ids = [prefix, *ids]
            start = 1
        scored = tuple(ids[start:])
        if not scored:
            raise EvaluationError(
                f"a continuation after {context[-40:]!r} has no token that could be scored."
            )
        if len(scored) > max_length:
            raise EvaluationError(
                f"a continuation has {len(scored)} tokens; the model reads at most {max_length}.",
                "Shorten the choices or use a model with a longer context.",
            )
        cut += len(ids) - 1 > max_length
        tokens = tuple(ids[:-1][-max_length:])
        grouped.setdefault(tokens, []).append(Target(place, len(tokens), scored))
    if cut:
        _LOG.warning(
            "%d of %d prompts are longer than the model's %d tokens; they were cut on the left",
            cut,
            len(texts),
            max_length,
        )
    return _merge_prefixes(grouped)


def _merge_prefixes(grouped: dict[tuple[int, ...], list[Target]]) -> list[Row]:
    """Fold rows that are a prefix of another one into it."""
    if not grouped:
        return []
    rows: list[Row] = []
    # all rows of a few-shot task begin alike: comparing what comes after that is much faster
    same = common_length(min(grouped), max(grouped))
    # in reverse order of the tokens whatever extends a row comes right before it
    for tokens in sorted(grouped, key=lambda row: row[same:], reverse=True):
        if rows and rows[-1].tokens[: len(tokens)] == tokens:
            rows[-1] = Row(rows[-1].tokens, (*rows[-1].targets, *grouped[tokens]))
        else:
            rows.append(Row(tokens, tuple(grouped[tokens])))
    return rows
