"""The distribution of an answer's first token: its top k or all of it, and its divergence from a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from gate.engines.hf.model.load import to_device
from gate.errors import EvaluationError
from gate.tasks.requests import Distribution, Divergence, GenerateRequest, LoglikelihoodRequest

Request = LoglikelihoodRequest | GenerateRequest


def queue_distributions(
    logprobs: torch.Tensor, requests: Sequence[Request]
) -> Callable[[], list[Distribution | Divergence]]:
    """Queue what each row's request asks for: the divergence from its reference, or else its `top` likeliest tokens.

    Parameters
    ----------
    logprobs : float32 tensor of shape (rows, vocabulary)
        Normalised, in nats.
    requests : one per row

    Returns
    -------
    callable
        Gives the results in the order of the rows, once the device has finished the queued work.

    Raises
    ------
    EvaluationError
        A reference contains a token that is not in the model's vocabulary.
    """
    groups: dict[int, list[int]] = {}  # rows by size of their reference (negative), or by k
    for row, request in enumerate(requests):
        size = -len(request.reference.tokens) if request.reference is not None else request.top
        groups.setdefault(size, []).append(row)
    queued: list[tuple[list[int], Callable[[], Sequence[Distribution | Divergence]]]] = []
    for size, rows in groups.items():
        chosen = logprobs if len(groups) == 1 else logprobs[to_device(rows, logprobs.device)]
        references = [reference for row in rows if (reference := requests[row].reference) is not None]
        queued.append((rows, _queue_divergences(chosen, references) if references else _queue_top(chosen, size)))

    def wait() -> list[Distribution | Divergence]:
        results = {row: value for rows, values in queued for row, value in zip(rows, values(), strict=True)}
        return [results[row] for row in range(len(requests))]

    return wait


def distributions(logprobs: torch.Tensor, requests: Sequence[Request]) -> list[Distribution | Divergence]:
    """Return what `queue_distributions` queues, after waiting for it."""
    wait = queue_distributions(logprobs, requests)
    if logprobs.is_cuda:
        torch.cuda.current_stream(logprobs.device).synchronize()
    return wait()


def _queue_top(logprobs: torch.Tensor, k: int) -> Callable[[], list[Distribution]]:
    """Queue the k likeliest tokens of each row; the whole distribution, without a tail, if k >= vocabulary size."""
    values, tokens = logprobs.topk(min(k, logprobs.shape[1]), dim=1)
    values = values.half().float()
    tails = (1.0 - values.exp().sum(dim=1)).clamp(min=0.0) * (k < logprobs.shape[1])
    tokens, values, tails = (tensor.to("cpu", non_blocking=True) for tensor in (tokens, values, tails))
    return lambda: [
        Distribution(tuple(ids), tuple(row), tail)
        for ids, row, tail in zip(tokens.tolist(), values.tolist(), tails.tolist(), strict=True)
    ]


def _queue_divergences(logprobs: torch.Tensor, references: Sequence[Distribution]) -> Callable[[], list[Divergence]]:
    """Queue each row's divergence from its reference; all references have the same number of tokens."""
    reference_tokens = torch.tensor([reference.tokens for reference in references])
    largest = int(reference_tokens.max())
    if largest >= logprobs.shape[1]:
        raise EvaluationError(
            f"the baseline's distribution contains token {largest}, but the candidate's vocabulary "
            f"has {logprobs.shape[1]} tokens.",
            "Set distance.kl: false, or compare models with the same vocabulary.",
        )
    tokens = to_device(reference_tokens, logprobs.device)
    p_log = to_device([reference.logprobs for reference in references], logprobs.device)
    p_tail = to_device([reference.tail for reference in references], logprobs.device)
    q_log = logprobs.gather(1, tokens)
    # a reference without a tail is a whole distribution: normalised again after its rounding to float16
    p_log = p_log - torch.where(p_tail == 0.0, p_log.logsumexp(dim=1), 0.0)[:, None]
    p = p_log.exp()
    inside = torch.where(p > 0, p * (p_log - q_log), 0.0).sum(dim=1)
    # float32 leaves about 1e-7 of a tail that is really empty
    q_tail = (1.0 - q_log.exp().sum(dim=1)).clamp(min=1e-7)
    outside = torch.special.xlogy(p_tail, p_tail) - p_tail * q_tail.log()
    # rounding to float16 can make the divergence of equal distributions slightly negative
    kl = (inside + outside).clamp(min=0.0)
    same = logprobs.argmax(dim=1) == tokens[:, 0]
    kl, same = (tensor.to("cpu", non_blocking=True) for tensor in (kl, same))
    return lambda: [Divergence(value, flag) for value, flag in zip(kl.tolist(), same.tolist(), strict=True)]
