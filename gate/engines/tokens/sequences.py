"""Requests as token ids, with the conventions of LM Evaluation Harness, so that scores are comparable with its scores.

The functions take token ids, not a tokenizer, because a served model's ids may come from its server.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gate.engines.tokens.tokenizer import Tokenizer, encode, prefix_token
from gate.errors import EvaluationError
from gate.tasks.requests import GenerateRequest, LoglikelihoodRequest, RollingRequest

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredSequence:
    """Token ids of a context and a continuation.

    Attributes
    ----------
    start : int
        Index of the first scored token.
    truncated : bool
        Whether the context lost tokens on the left.
    """

    ids: tuple[int, ...]
    start: int
    truncated: bool = False


def joined_texts(request: LoglikelihoodRequest) -> tuple[str, list[str]]:
    """Return the context without its trailing white space, and the context joined with each continuation.

    The white space belongs to the continuation.
    """
    return request.context.rstrip(), [request.context + text for text in request.continuations]


def texts_to_encode(requests: Iterable[LoglikelihoodRequest]) -> list[str]:
    """Return the distinct texts whose token ids `scored_sequences` needs."""
    texts: dict[str, None] = {}
    for request in requests:
        if request.ids:
            texts |= dict.fromkeys([request.context] if request.context else [])
            continue
        context, joined = joined_texts(request)
        texts |= dict.fromkeys([context, *joined] if context else joined)
    return list(texts)


def scored_sequences(
    request: LoglikelihoodRequest,
    encoded: Mapping[str, Sequence[int]],
    prefix: int | None,
    max_length: int | None,
) -> list[ScoredSequence]:
    """Return one sequence per continuation of a request.

    The tokens of a continuation are those of the joined text after as many tokens as the context alone has. If there is
    no context, the prefix token takes its place.

    Parameters
    ----------
    encoded : mapping
        Token ids of each text that `texts_to_encode` returns.
    prefix : int or None
        See `prefix_token`.
    max_length : int or None
        Longest input in tokens. The last token of a sequence is scored but not an input. Longer sequences lose tokens
        on the left.

    Raises
    ------
    EvaluationError
        A continuation has no tokens, or more than `max_length`.
    """
    if request.ids:
        return [_given_sequence(request, encoded, prefix, max_length)]
    context, joined = joined_texts(request)
    sequences = []
    for text in joined:
        ids = tuple(encoded[text])
        # joining can merge tokens; a continuation keeps at least one
        start = min(len(encoded[context]), len(ids) - 1) if context else 0
        if start < 1:  # no token precedes the continuation
            if prefix is not None and ids[:1] != (prefix,):
                ids = (prefix, *ids)
            start = 1
        count = len(ids) - start
        if count < 1:
            raise EvaluationError(f"a continuation after {context[-40:]!r} has no token that could be scored.")
        if max_length is not None and count > max_length:
            raise EvaluationError(
                f"a continuation has {count} tokens; the model reads at most {max_length}.",
                "Shorten the choices or use a model with a longer context.",
            )
        excess = 0 if max_length is None else max(0, len(ids) - 1 - max_length)
        sequences.append(ScoredSequence(ids[excess:], start=len(ids) - excess - count, truncated=excess > 0))
    return sequences


def _given_sequence(
    request: LoglikelihoodRequest, encoded: Mapping[str, Sequence[int]], prefix: int | None, max_length: int | None
) -> ScoredSequence:
    """Return the sequence of a request with token ids; the prompt is that of the generation."""
    ids = request.ids if max_length is None else request.ids[:max_length]
    prompt = tuple(encoded[request.context]) if request.context else ()
    prompt = prompt or ((0,) if prefix is None else (prefix,))
    excess = 0 if max_length is None else max(0, len(prompt) + len(ids) - 1 - max_length)
    prompt = prompt[min(excess, len(prompt) - 1) :]
    return ScoredSequence((*prompt, *ids), len(prompt), truncated=excess > 0)


def rolling_sequences(
    ids: Sequence[int], prefix: int | None, max_length: int | None, context: int = 0
) -> list[ScoredSequence]:
    """Cut a text into disjoint windows that score each token once.

    The first window scores its tokens after the prefix token, and each later window has at least one token of context.
    The last window is filled with context on the left.

    Parameters
    ----------
    ids : sequence of int
        The text's tokens, without special tokens.
    prefix : int or None
        See `prefix_token`.
    max_length : int or None
        Longest input in tokens, and the most tokens that a window scores.
    context : int
        Number of the first tokens that are read and not scored.

    Raises
    ------
    EvaluationError
        There is no prefix token.
    """
    if prefix is None:
        raise EvaluationError(
            "the first token of a text cannot be scored: the tokenizer has neither BOS nor EOS to precede it.",
            "Set `tokenizer:` to a folder or hub name whose tokenizer has one.",
        )
    whole = (prefix, *ids)
    size = len(whole) if max_length is None else max_length
    windows = []
    for start in range(1 + context, len(whole), size):
        end = min(start + size, len(whole))
        first = max(0, end - size - 1)
        windows.append(ScoredSequence(whole[first:end], start - first))
    return windows


def rolling_texts(request: RollingRequest) -> list[str]:
    """Return the texts whose token ids `rolling_windows` needs."""
    return [request.context + request.text, *([request.context] if request.context else [])]


def rolling_windows(
    request: RollingRequest, encoded: Mapping[str, Sequence[int]], prefix: int | None, max_length: int | None
) -> list[ScoredSequence]:
    """Return the windows of a text, after its context; see `rolling_sequences`.

    The tokens of the text are those of the joined text after as many tokens as the context alone has.
    """
    whole = encoded[request.context + request.text]
    # joining can merge tokens; the text keeps at least one
    before = min(len(encoded[request.context]), len(whole) - 1) if request.context else 0
    return rolling_sequences(whole, prefix, max_length, before)


def generation_prompts(
    tokenizer: Tokenizer, requests: Sequence[GenerateRequest], max_length: int | None
) -> list[list[int]]:
    """Return the token ids of each context; an empty one becomes the prefix token.

    A prompt that leaves no room for `max_tokens` within `max_length` tokens loses tokens on the left, with a warning.
    """
    encoded = encode(tokenizer, [request.context for request in requests])
    prompts, truncated = [], []
    for request, ids in zip(requests, encoded, strict=True):
        length = len(ids) if max_length is None else max(1, max_length - request.max_tokens)
        if len(ids) > length:
            truncated.append(request.max_tokens)
        prompts.append(ids[-length:] or [prefix_token(tokenizer) or 0])
    if truncated:
        _LOG.warning(
            "%d of %d prompts are truncated on the left: the model reads at most %d tokens, and up to %d are generated",
            len(truncated),
            len(prompts),
            max_length,
            max(truncated),
        )
    return prompts
