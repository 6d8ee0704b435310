"""Static batching with transformers' own `generate`, for models that cannot use a paged KV cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from gate.engines.hf.generation.paged import ignores_padding
from gate.engines.hf.generation.sequence import TokenSequence, append_tokens, sample_next
from gate.engines.hf.model.batching import BatchLimit, run_in_batches
from gate.engines.hf.model.load import LoadedModel
from gate.errors import EvaluationError

_LOG = logging.getLogger(__name__)


def generate_static(
    loaded: LoadedModel,
    sequences: Sequence[TokenSequence],
    limit: BatchLimit,
    on_finished: Callable[[TokenSequence], None],
) -> None:
    """Generate every sequence to its end, in batches that wait for their longest sequence.

    Prompts are padded on the left. If padding changes the model's logits, the batch size is 1. `limit` bounds sequences
    x padded length.

    Raises
    ------
    EvaluationError
        A single sequence does not fit into memory, the logits are NaN, or transformers cannot generate with the model.
    """

    def forward(rows: list[int]) -> None:
        batch = [sequences[row] for row in rows]
        for sequence in batch:
            sequence.generated.clear()  # of an attempt that ran out of memory
        _generate(loaded, batch)
        for sequence in batch:
            on_finished(sequence)

    if not ignores_padding(loaded):
        _LOG.info("padding changes the model's logits: the batch size is 1")
        limit = BatchLimit(1)
    run_in_batches([sequence.max_length for sequence in sequences], limit, forward)


def _generate(loaded: LoadedModel, sequences: Sequence[TokenSequence]) -> None:
    pad = loaded.tokenizer.pad_token_id or 0
    width = max(len(sequence.prompt) for sequence in sequences)
    gaps = [width - len(sequence.prompt) for sequence in sequences]
    inputs = torch.tensor([[pad] * gap + list(s.prompt) for gap, s in zip(gaps, sequences, strict=True)])
    mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
    options = {
        "input_ids": inputs.to(loaded.device),
        "attention_mask": mask.to(loaded.device),
        "max_new_tokens": max(sequence.request.max_tokens for sequence in sequences),
        "do_sample": False,
        "pad_token_id": pad,
        "stopping_criteria": StoppingCriteriaList([_Append(loaded.tokenizer, sequences)]),
        "logits_processor": LogitsProcessorList([_ForceSampled(sequences)]),
    }
    try:
        with torch.no_grad():
            loaded.model.generate(**options)
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # e.g. no cache for its configuration
        raise EvaluationError(
            f"transformers cannot generate text with {type(loaded.model).__name__}: {type(error).__name__}: {error}",
            "Use multiple-choice tasks for this model, or serve it with another engine.",
        ) from error


class _ForceSampled(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Samples each sequence's next token and masks all others, so that greedy search takes it."""

    def __init__(self, sequences: Sequence[TokenSequence]) -> None:
        self._sequences = sequences

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        scores = scores.float()
        tokens = torch.tensor(sample_next(self._sequences, scores), device=scores.device)[:, None]
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens, 0.0)


class _Append(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Appends each new token to its sequence until the sequence is finished."""

    def __init__(self, tokenizer: Any, sequences: Sequence[TokenSequence]) -> None:
        self._tokenizer, self._sequences = tokenizer, sequences
        self._finished = [False] * len(sequences)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        unfinished = [row for row, finished in enumerate(self._finished) if not finished]
        newest = input_ids[:, -1].tolist()
        flags = append_tokens(
            self._tokenizer,
            [self._sequences[row] for row in unfinished],
            [newest[row] for row in unfinished],
        )
        for row, flag in zip(unfinished, flags, strict=True):
            self._finished[row] = flag
        return torch.tensor(self._finished, dtype=torch.bool, device=input_ids.device)
