"""Answer generation requests: tokenise the prompts, then use continuous batching where the model supports it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gate.engines.base import Progress
from gate.engines.hf.generation.continuous_batching import generate_continuous
from gate.engines.hf.generation.paged import paging_obstacle
from gate.engines.hf.generation.sequence import TokenSequence, make_sequences
from gate.engines.hf.generation.static_batching import generate_static
from gate.engines.hf.model.batching import BatchLimit
from gate.engines.hf.model.load import LoadedModel
from gate.engines.tokens.sequences import generation_prompts
from gate.tasks.requests import GenerateAnswer, GenerateRequest

_LOG = logging.getLogger(__name__)


def generate(
    loaded: LoadedModel,
    requests: Sequence[GenerateRequest],
    limit: BatchLimit,
    max_length: int,
    progress: Progress,
) -> list[GenerateAnswer]:
    """Answer generation requests, in their order.

    Prompts that leave fewer than `max_tokens` tokens are truncated on the left, with a warning.

    Parameters
    ----------
    loaded : LoadedModel
    requests : sequence of GenerateRequest
    limit : BatchLimit
        Upper bound of the tokens of the running sequences.
    max_length : int
        Longest input of the model, in tokens.
    progress : callable
        Called with 1 per finished request.

    Raises
    ------
    EvaluationError
        A single sequence does not fit into memory, or the logits are NaN.
    """
    if not requests:
        return []
    prompts = generation_prompts(loaded.tokenizer, requests, max_length)
    sequences = make_sequences(loaded.tokenizer, requests, prompts, loaded.end_tokens)
    answers: dict[int, GenerateAnswer] = {}

    def on_finished(sequence: TokenSequence) -> None:
        answers[sequence.index] = sequence.answer(loaded.tokenizer)
        progress(1)

    continuous, static, reason = _divide(loaded, sequences)
    if static:
        _LOG.info(
            "%d of %d sequences are generated in static batches: %s", len(static), len(sequences), reason
        )
        generate_static(loaded, static, limit, on_finished)
    if continuous:
        generate_continuous(loaded, continuous, loaded.capabilities.cache_layers, limit, on_finished)
    return [answers[index] for index in range(len(requests))]


def _divide(
    loaded: LoadedModel, sequences: Sequence[TokenSequence]
) -> tuple[list[TokenSequence], list[TokenSequence], str]:
    """Return the sequences for continuous batching, those for static batches, and the reason for the latter."""
    reason = paging_obstacle(loaded)
    if reason is not None:
        return [], list(sequences), reason
    bound = loaded.capabilities.window
    if bound is None:
        return list(sequences), [], ""
    return (
        [sequence for sequence in sequences if sequence.max_length <= bound],
        [sequence for sequence in sequences if sequence.max_length > bound],
        f"they may become longer than the {bound} tokens of the attention window or rotary embedding",
    )
