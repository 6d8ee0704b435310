"""Generation: prompts to tokens, texts written side by side where the model allows it, else in static batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from gate.engines.base import GenerateAnswer, GenerateRequest, Progress
from gate.engines.hf.generation.decode import decode
from gate.engines.hf.generation.paged import layers_of, reach, why_not
from gate.engines.hf.generation.sequence import Writing, writings
from gate.engines.hf.generation.static import write_static
from gate.engines.hf.model.batching import BatchLimit
from gate.engines.hf.model.load import LoadedModel
from gate.engines.tokens.requests import encode

_LOG = logging.getLogger(__name__)


def generate(
    loaded: LoadedModel,
    requests: Sequence[GenerateRequest],
    limit: BatchLimit,
    multiple: int,
    max_length: int,
    progress: Progress,
) -> list[GenerateAnswer]:
    """Answer generation requests, in their order.

    Prompts that leave no room for `max_tokens` lose tokens on the left, with a warning.

    Parameters
    ----------
    loaded : LoadedModel
    requests : sequence of GenerateRequest
    limit : BatchLimit
        Upper bound of texts x tokens in progress at a time, in tokens.
    multiple : int
        Widths are rounded up to it.
    max_length : int
        Tokens that the model reads at most.
    progress : callable

    Raises
    ------
    EvaluationError
        A single text does not fit into memory, or the logits are NaN.
    """
    if not requests:
        return []
    prompts = _prompts(loaded.tokenizer, requests, max_length)
    rows = writings(loaded.tokenizer, requests, prompts, loaded.end_tokens)
    answers: list[GenerateAnswer | None] = [None] * len(requests)

    def done(row: Writing) -> None:
        answers[row.index] = row.answer(loaded.tokenizer)
        progress(1)

    paged, static, reason = _divided(loaded, rows)
    if static:
        _LOG.info("%d of %d texts are generated in static batches: %s", len(static), len(rows), reason)
        write_static(loaded, static, limit, multiple, done)
    if paged:
        decode(loaded, paged, len(layers_of(loaded.model)), limit, multiple, done)
    return [answer for answer in answers if answer is not None]


def _divided(loaded: LoadedModel, rows: Sequence[Writing]) -> tuple[list[Writing], list[Writing], str]:
    """Return the texts for pages, those for static batches, and why these."""
    reason = why_not(loaded)
    if reason is not None:
        return [], list(rows), reason
    bound = reach(loaded.model)
    if bound is None:
        return list(rows), [], ""
    return (
        [row for row in rows if row.longest <= bound],
        [row for row in rows if row.longest > bound],
        f"they may become longer than the {bound} tokens of its attention window or rotary embedding",
    )


def _prompts(tokenizer: Any, requests: Sequence[GenerateRequest], max_length: int) -> list[list[int]]:
    beginning = [_beginning(tokenizer)]
    prompts = [ids or beginning for ids in encode(tokenizer, [request.context for request in requests])]
    rooms = [max(1, max_length - request.max_tokens) for request in requests]
    cut = [
        request.max_tokens
        for request, ids, room in zip(requests, prompts, rooms, strict=True)
        if len(ids) > room
    ]
    if cut:
        _LOG.warning(
            "%d of %d prompts leave no room for %d tokens; cut on the left", len(cut), len(prompts), max(cut)
        )
    return [ids[-room:] for ids, room in zip(prompts, rooms, strict=True)]


def _beginning(tokenizer: Any) -> int:
    """Return the token that an empty prompt becomes: BOS, else EOS, as for log-likelihoods."""
    return int(tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id or 0)
