"""Log-likelihoods: forward passes over right-padded rows, log-softmax in float32 of the needed positions only."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from gate.engines.base import Distribution, Divergence, LoglikelihoodAnswer, LoglikelihoodRequest, Progress
from gate.engines.hf.batching import BatchLimit, padded, run_in_batches
from gate.engines.hf.distribution import divergences, top_distributions
from gate.engines.hf.load import LoadedModel
from gate.engines.hf.tokens import Row, Target, scoring_rows

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
    extras: dict[int, Distribution | Divergence] = {}
    few_logits = "logits_to_keep" in inspect.signature(loaded.model.forward).parameters

    def forward(batch: list[int]) -> None:
        chosen = [rows[index] for index in batch]
        values, found = _forward(loaded, chosen, requests, multiple, few_logits)
        extras.update(found)
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
    return [_answer(tuple(sums[i]), sizes[i], extras.get(i)) for i in range(len(requests))]


def _answer(
    sums: tuple[float, ...], sizes: Sequence[int], extra: Distribution | Divergence | None
) -> LoglikelihoodAnswer:
    return LoglikelihoodAnswer(
        sums,
        sizes[0],
        sizes[1],
        distribution=extra if isinstance(extra, Distribution) else None,
        divergence=extra if isinstance(extra, Divergence) else None,
    )


def _forward(
    loaded: LoadedModel,
    rows: Sequence[Row],
    requests: Sequence[LoglikelihoodRequest],
    multiple: int,
    few_logits: bool,
) -> tuple[list[list[float]], dict[int, Distribution | Divergence]]:
    """Return for each row the log-likelihood (nats) of each of its targets, and what requests want beside them."""
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
        extras = _at_answers(logits, scored, requests, first)
    answers: list[list[float]] = [[] for _ in rows]
    start = 0
    for number, target in scored:
        answers[number].append(float(tokens[start : start + len(target.ids)].sum()))
        start += len(target.ids)
    return answers, extras


def _at_answers(
    logits: torch.Tensor,
    scored: Sequence[tuple[int, Target]],
    requests: Sequence[LoglikelihoodRequest],
    first: int,
) -> dict[int, Distribution | Divergence]:
    """Return, by request, the distribution after the context or its divergence from the reference."""
    found: dict[int, Distribution | Divergence] = {}
    for compare in (False, True):
        chosen = [
            (number, target)
            for number, target in scored
            if target.place[1] == 0
            and (requests[target.place[0]].reference is not None) == compare
            and (compare or requests[target.place[0]].top > 0)
        ]
        for start in range(0, len(chosen), _LOGITS_AT_ONCE):
            part = chosen[start : start + _LOGITS_AT_ONCE]
            places = torch.tensor([(n, t.end - len(t.ids) - first) for n, t in part], device=logits.device)
            logprobs = torch.log_softmax(logits[places[:, 0], places[:, 1]].float(), dim=1)
            asked = [requests[target.place[0]] for _, target in part]
            for (_, target), result in zip(part, _compared(logprobs, asked), strict=True):
                found[target.place[0]] = result
    return found


def _compared(
    logprobs: torch.Tensor, requests: Sequence[LoglikelihoodRequest]
) -> Sequence[Distribution | Divergence]:
    references = [request.reference for request in requests if request.reference is not None]
    return divergences(logprobs, references) if references else top_distributions(logprobs, requests[0].top)
