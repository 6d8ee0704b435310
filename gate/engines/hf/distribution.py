"""The distribution of the answer's first token: its top k, and its divergence from a stored one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gate.engines.base import Distribution, Divergence


def top_distributions(logprobs: torch.Tensor, k: int) -> list[Distribution]:
    """Return the k likeliest tokens of each row.

    Parameters
    ----------
    logprobs : float32 tensor of shape (rows, vocabulary)
        Normalised, in nats.
    k : int
    """
    values, tokens = logprobs.topk(min(k, logprobs.shape[1]), dim=1)
    values = values.half().float()
    tails = (1.0 - values.exp().sum(dim=1)).clamp(min=0.0)
    return [
        Distribution(tuple(ids), tuple(row), tail)
        for ids, row, tail in zip(tokens.tolist(), values.tolist(), tails.tolist(), strict=True)
    ]


def divergences(logprobs: torch.Tensor, references: Sequence[Distribution]) -> list[Divergence]:
    """Return each row's divergence from its reference; see `Divergence`.

    Parameters
    ----------
    logprobs : float32 tensor of shape (rows, vocabulary)
        Of the model that is compared, normalised, in nats.
    references : sequence of Distribution, one a row
        Of one and the same k.
    """
    tokens = torch.tensor([reference.tokens for reference in references], device=logprobs.device)
    p_log = torch.tensor([reference.logprobs for reference in references], device=logprobs.device)
    p_tail = torch.tensor([reference.tail for reference in references], device=logprobs.device)
    q_log = logprobs.gather(1, tokens)
    p = p_log.exp()
    inside = (p * (p_log - q_log)).sum(dim=1)
    # float32 leaves about 1e-7 of a tail that is really empty
    q_tail = (1.0 - q_log.exp().sum(dim=1)).clamp(min=1e-7)
    outside = torch.special.xlogy(p_tail, p_tail) - p_tail * q_tail.log()
    # rounding to float16 can put an equal distribution a hair below zero
    kl = (inside + outside).clamp(min=0.0)
    same = logprobs.argmax(dim=1) == tokens[:, 0]
    return [Divergence(value, flag) for value, flag in zip(kl.tolist(), same.tolist(), strict=True)]
