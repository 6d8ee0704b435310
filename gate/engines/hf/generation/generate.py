"""Answer generation requests: tokenise the prompts, then use continuous batching where the model supports it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

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

    `limit` bounds the tokens of the running sequences. Prompts that leave no room for `max_tokens` within `max_length`
    tokens are truncated on the left, with a warning.

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

    generate_sequences(loaded, sequences, limit, on_finished)
    return [answers[index] for index in range(len(requests))]


def generate_sequences(
    loaded: LoadedModel,
    sequences: Sequence[TokenSequence],
    limit: BatchLimit,
    on_finished: Callable[[TokenSequence], None],
) -> None:
    """Generate every sequence to its end, in continuous batches where the model supports its length; see `generate`."""
    reason, window = paging_obstacle(loaded), loaded.capabilities.window
    if reason is not None:
        longest = 0.0
    else:
        longest = math.inf if window is None else window
        reason = f"they may become longer than the {window} tokens of the attention window or rotary embedding"
    static = [sequence for sequence in sequences if sequence.max_length > longest]
    continuous = [sequence for sequence in sequences if sequence.max_length <= longest]
    if static:
        _LOG.info("%d of %d sequences are generated in static batches: %s", len(static), len(sequences), reason)
        generate_static(loaded, static, limit, on_finished)
    if continuous:
        generate_continuous(loaded, continuous, limit, on_finished)
