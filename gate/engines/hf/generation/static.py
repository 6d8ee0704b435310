"""Texts written by transformers' own `generate`, in batches that wait for their slowest: for models that need it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from gate.engines.hf.generation.next_token import choose
from gate.engines.hf.generation.paged import heeds_padding
from gate.engines.hf.generation.sequence import Writing, extend, measure
from gate.engines.hf.model.batching import BatchLimit, padded, run_in_batches
from gate.engines.hf.model.load import LoadedModel
from gate.engines.hf.model.memory import free_memory, is_out_of_memory

_LOG = logging.getLogger(__name__)


def write_static(
    loaded: LoadedModel,
    rows: Sequence[Writing],
    limit: BatchLimit,
    multiple: int,
    done: Callable[[Writing], None],
) -> None:
    """Write every text to its end; see `gate.engines.hf.generation.decode.decode`.

    Prompts are padded on the left. A model whose answer depends on that padding writes one text at a time.
    """

    def forward(batch: list[int]) -> None:
        chosen = [rows[index] for index in batch]
        for row in chosen:
            row.made.clear()  # of a batch that ran out of memory
        _generate(loaded, chosen, multiple if together else 1)
        for row in chosen:
            done(row)

    together = heeds_padding(loaded)
    if not together:
        _LOG.info("padding changes what the model writes: one text at a time")
        limit = BatchLimit(1)
    run_in_batches([row.longest for row in rows], limit, forward, is_out_of_memory, free_memory)


def _generate(loaded: LoadedModel, rows: Sequence[Writing], multiple: int) -> None:
    model, pad = loaded.model, loaded.tokenizer.pad_token_id or 0
    width = padded(max(len(row.prompt) for row in rows), multiple)
    gaps = [width - len(row.prompt) for row in rows]
    inputs = torch.tensor([[pad] * gap + list(row.prompt) for gap, row in zip(gaps, rows, strict=True)])
    mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
    following = _Following(loaded.tokenizer, rows)
    with torch.no_grad():
        model.generate(
            input_ids=inputs.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            max_new_tokens=max(row.request.max_tokens for row in rows),
            do_sample=False,
            pad_token_id=pad,
            stopping_criteria=StoppingCriteriaList([following]),
            logits_processor=LogitsProcessorList([_Choosing(rows)]),
        )


class _Choosing(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Leaves each row the one token that `choose` takes, so that greedy search takes it."""

    def __init__(self, rows: Sequence[Writing]) -> None:
        self._rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        scores = scores.float()
        tokens = choose(
            scores,
            [row.request.temperature for row in self._rows],
            [row.key for row in self._rows],
            [len(row.made) for row in self._rows],
        )
        measure(self._rows, scores)
        chosen = torch.tensor(tokens, device=scores.device)[:, None]
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


class _Following(StoppingCriteria):  # type: ignore[misc]  # transformers is not typed
    """Writes each row's new token down until the row is at its end."""

    def __init__(self, tokenizer: Any, rows: Sequence[Writing]) -> None:
        self._tokenizer, self._rows = tokenizer, rows
        self._ended = [False] * len(rows)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        open_rows = [number for number, ended in enumerate(self._ended) if not ended]
        newest = input_ids[:, -1].tolist()
        flags = extend(
            self._tokenizer,
            [self._rows[number] for number in open_rows],
            [newest[number] for number in open_rows],
        )
        for number, flag in zip(open_rows, flags, strict=True):
            self._ended[number] = flag
        return torch.tensor(self._ended, dtype=torch.bool, device=input_ids.device)
