"""The distribution of the answer's first token: its top k or all of it, and its divergence from a stored one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from gate.engines.base import Distribution, Divergence, GenerateRequest, LoglikelihoodRequest
from gate.engines.hf.model.load import to_device
from gate.errors import EvaluationError

Asking = LoglikelihoodRequest | GenerateRequest


def queue_asked(
    logprobs: torch.Tensor, requests: Sequence[Asking]
) -> Callable[[], list[Distribution | Divergence]]:
    """Queue what each row's request asks for: the divergence from its reference, else its `top` likeliest tokens.

    Parameters
    ----------
    logprobs : float32 tensor of shape (rows, vocabulary)
        Normalised, in nats.
    requests : sequence of requests, one a row

    Returns
    -------
    callable
        Gives the results in the order of the rows, once the device has done the work.
    """
    kinds: dict[int, list[int]] = {}
    for row, request in enumerate(requests):
        size = -len(request.reference.tokens) if request.reference is not None else request.top
        kinds.setdefault(size, []).append(row)
    queued: list[tuple[list[int], Callable[[], Sequence[Distribution | Divergence]]]] = []
    for size, rows in kinds.items():
        chosen = logprobs if len(kinds) == 1 else logprobs[to_device(rows, logprobs.device)]
        references = [one for row in rows if (one := requests[row].reference) is not None]
        queued.append(
            (rows, queue_divergences(chosen, references) if references else queue_tops(chosen, size))
        )

    def wait() -> list[Distribution | Divergence]:
        found = {row: one for rows, done in queued for row, one in zip(rows, done(), strict=True)}
        return [found[row] for row in range(len(requests))]

    return wait


def asked(logprobs: torch.Tensor, requests: Sequence[Asking]) -> list[Distribution | Divergence]:
    """Do the same at once."""
    waiting = queue_asked(logprobs, requests)
    _synchronize(logprobs)
    return waiting()


def queue_tops(logprobs: torch.Tensor, k: int) -> Callable[[], list[Distribution]]:
    """Queue the k likeliest tokens of each row; where k reaches the vocabulary's size all of it, without a tail.

    Parameters
    ----------
    logprobs : float32 tensor of shape (rows, vocabulary)
        Normalised, in nats.
    k : int

    Returns
    -------
    callable
        Gives the distributions once the device has done the work.
    """
    whole = k >= logprobs.shape[1]
    values, tokens = logprobs.topk(min(k, logprobs.shape[1]), dim=1)
    values = values.half().float()
    tails = (1.0 - values.exp().sum(dim=1)).clamp(min=0.0) * (not whole)
    tokens, values, tails = (one.to("cpu", non_blocking=True) for one in (tokens, values, tails))
    return lambda: [
        Distribution(tuple(ids), tuple(row), tail)
        for ids, row, tail in zip(tokens.tolist(), values.tolist(), tails.tolist(), strict=True)
    ]


def queue_divergences(
    logprobs: torch.Tensor, references: Sequence[Distribution]
) -> Callable[[], list[Divergence]]:
    """Queue each row's divergence from its reference; see `Divergence`.

    Parameters
    ----------
    logprobs : float32 tensor of shape (rows, vocabulary)
        Of the model that is compared, normalised, in nats.
    references : sequence of Distribution, one a row
        Of one and the same k. One without a tail is a whole distribution: it is normalised again after its rounding,
        and the divergence is exact.

    Returns
    -------
    callable
        Gives the divergences once the device has done the work.

    Raises
    ------
    EvaluationError
        A reference names a token that the model does not have.
    """
    named = torch.tensor([reference.tokens for reference in references])
    if int(named.max()) >= logprobs.shape[1]:
        raise EvaluationError(
            f"the baseline's distribution names token {int(named.max())}, the candidate's vocabulary has "
            f"{logprobs.shape[1]} tokens.",
            "Set distance.kl: false, or compare models of one vocabulary.",
        )
    tokens = to_device(named, logprobs.device)
    p_log = to_device([reference.logprobs for reference in references], logprobs.device)
    p_tail = to_device([reference.tail for reference in references], logprobs.device)
    q_log = logprobs.gather(1, tokens)
    p_log = p_log - torch.where(p_tail == 0.0, p_log.logsumexp(dim=1), 0.0)[:, None]
    p = p_log.exp()
    inside = torch.where(p > 0, p * (p_log - q_log), 0.0).sum(dim=1)
    # float32 leaves about 1e-7 of a tail that is really empty
    q_tail = (1.0 - q_log.exp().sum(dim=1)).clamp(min=1e-7)
    outside = torch.special.xlogy(p_tail, p_tail) - p_tail * q_tail.log()
    # rounding to float16 can put an equal distribution a hair below zero
    kl = (inside + outside).clamp(min=0.0)
    same = logprobs.argmax(dim=1) == tokens[:, 0]
    kl, same = (one.to("cpu", non_blocking=True) for one in (kl, same))
    return lambda: [Divergence(value, flag) for value, flag in zip(kl.tolist(), same.tolist(), strict=True)]


def _synchronize(tensor: torch.Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.current_stream(tensor.device).synchronize()
