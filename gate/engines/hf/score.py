"""Log-likelihoods: forward passes over right-padded rows, log-softmax in float32 of the needed positions only."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from gate.engines.base import LoglikelihoodAnswer, LoglikelihoodRequest, Progress
from gate.engines.hf.batching import BatchLimit, padded, run_in_batches
from gate.engines.hf.load import LoadedModel
from gate.engines.hf.tokens import Row, scoring_rows

_LOGITS_AT_ONCE = 2048  # rows of the vocabulary's size that are held in float32 at a time


def is_out_of_memory(error: BaseException) -> bool:
    """Tell an out-of-memory error of torch, on the GPU or the CPU, from all others."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("not enough memory" in text or "out of memory" in text)
    )


def free_memory() -> None:
    """Give cached GPU memory back."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def score(
    loaded: LoadedModel,
    requests: Sequence[LoglikelihoodRequest],
    limit: BatchLimit,
    multiple: int,
    max_length: int,
    progress: Progress,
) -> list[LoglikelihoodAnswer]:
    """Answer log-likelihood requests, in their order.

    Rows are padded on the right: in a causal model what follows cannot change what came before, so neither
    attention mask nor position ids are needed, and recurrent models are scored right as well.
    """
    rows = scoring_rows(loaded.tokenizer, requests, max_length)
    sums = [[0.0] * len(request.continuations) for request in requests]
    sizes = [[0, 0] for _ in requests]
    waiting = [len(request.continuations) for request in requests]
    few_logits = "logits_to_keep" in inspect.signature(loaded.model.forward).parameters

    def forward(batch: list[int]) -> None:
        chosen = [rows[index] for index in batch]
        values = _forward(loaded, chosen, multiple, few_logits)
        done = 0
        for row, answers in zip(chosen, values, strict=True):
            for target, value in zip(row.targets, answers, strict=True):
                request, number = target.place
                sums[request][number] = value
                sizes[request][0] += target.end + 1 - len(target.ids)
                sizes[request][1] += len(target.ids)
                waiting[request] -= 1
                done += waiting[request] == 0
        progress(done)

    run_in_batches([len(row.tokens) for row in rows], limit, forward, is_out_of_memory, free_memory, multiple)
    return [LoglikelihoodAnswer(tuple(sums[i]), *sizes[i]) for i in range(len(requests))]


def _forward(loaded: LoadedModel, rows: Sequence[Row], multiple: int, few_logits: bool) -> list[list[float]]:
    """Return for each row the log-likelihood (nats) of each of its targets."""
    width = padded(max(len(row.tokens) for row in rows), multiple)
    pad = loaded.tokenizer.pad_token_id or 0
    inputs = torch.tensor([[*row.tokens, *[pad] * (width - len(row.tokens))] for row in rows])
    first = min(row.first for row in rows)
    options: dict[str, Any] = {}
    if few_logits:
        last = max(len(row.tokens) for row in rows)
        options["logits_to_keep"] = torch.arange(first, last, device=loaded.device)
    else:
        first = 0
    with torch.no_grad():
        logits = loaded.model(input_ids=inputs.to(loaded.device), use_cache=False, **options).logits
        scored = [(number, target) for number, row in enumerate(rows) for target in row.targets]
        at = [(n, t.end - len(t.ids) + k - first) for n, t in scored for k in range(len(t.ids))]
        places = torch.tensor(at, device=logits.device)
        targets = torch.tensor([token for _, t in scored for token in t.ids], device=logits.device)
        values = []
        for start in range(0, len(at), _LOGITS_AT_ONCE):
            part = places[start : start + _LOGITS_AT_ONCE]
            chosen = logits[part[:, 0], part[:, 1]].float()
            picked = chosen.gather(1, targets[start : start + _LOGITS_AT_ONCE, None]).squeeze(1)
            values.append(picked - torch.logsumexp(chosen, dim=1))
        tokens = torch.cat(values).double().cpu()
    answers: list[list[float]] = [[] for _ in rows]
    start = 0
    for number, target in scored:
        answers[number].append(float(tokens[start : start + len(target.ids)].sum()))
        start += len(target.ids)
    return answers
