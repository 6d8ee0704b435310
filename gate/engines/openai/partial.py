"""KL divergence from a server's list of likely tokens, which may lack tokens of the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gate.engines.openai.wire import Likely
from gate.tasks.requests import Distribution, Divergence

_LOWEST = -100.0  # nats; servers write -9999 or -inf for a probability of 0


def has_ids(top: Sequence[Likely]) -> bool:
    """Return whether a server's list names its tokens by id, and is not empty."""
    return bool(top) and all(token.id is not None for token in top)


def distribution(top: Sequence[Likely]) -> Distribution | None:
    """Return a server's list as a distribution, or None without ids."""
    if not has_ids(top):
        return None
    logprobs = tuple(float(np.float16(max(token.logprob, _LOWEST))) for token in top)
    tail = max(0.0, 1.0 - sum(map(math.exp, logprobs)))
    return Distribution(tuple(token.id for token in top if token.id is not None), logprobs, tail)


def divergence(reference: Distribution, top: Sequence[Likely]) -> Divergence | None:
    """Return the divergence of a server's list from a reference, or None without ids.

    Tokens of the reference that the list lacks join the tail on both sides. A coarser partition never increases the
    divergence (data processing inequality), so the result is still a lower bound, as `Divergence` states.
    """
    if not has_ids(top):
        return None
    # the floor only makes the bound smaller
    listed = {token.id: max(token.logprob, _LOWEST) for token in top}
    total = p_listed = q_listed = 0.0
    for token, logprob in zip(reference.tokens, reference.logprobs, strict=True):
        if token in listed:
            p = math.exp(logprob)
            if p > 0:  # float16 can round a tiny probability to zero
                total += p * (logprob - listed[token])
            p_listed += p
            q_listed += math.exp(listed[token])
    # the stored list and its tail sum to 1, up to float16 rounding
    mass = sum(map(math.exp, reference.logprobs)) + reference.tail
    p_rest, q_rest = max(0.0, mass - p_listed), max(1e-7, 1.0 - q_listed)
    if p_rest > 0:
        total += p_rest * (math.log(p_rest) - math.log(q_rest))
    return Divergence(max(0.0, total), top[0].id == reference.tokens[0])
