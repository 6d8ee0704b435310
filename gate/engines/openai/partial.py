"""KL divergence from lists of likely tokens that need not hold the same tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gate.engines.base import Distribution, Divergence
from gate.engines.openai.wire import Likely


def distribution(top: Sequence[Likely]) -> Distribution | None:
    """Return a server's list as a distribution; None where it names tokens by text only."""
    if not top or any(one.id is None for one in top):
        return None
    logprobs = tuple(float(np.float16(one.logprob)) for one in top)
    tail = max(0.0, 1.0 - sum(map(math.exp, logprobs)))
    return Distribution(tuple(one.id for one in top if one.id is not None), logprobs, tail)


def divergence(reference: Distribution, top: Sequence[Likely]) -> Divergence | None:
    """Return a server's divergence from a reference; None where it names tokens by text only.

    Tokens of the reference that the server's list lacks join the tail on both sides. A coarser partition can only
    lose divergence (data processing inequality), so this stays a lower bound, as `Divergence` states.
    """
    if not top or any(one.id is None for one in top):
        return None
    theirs = {one.id: one.logprob for one in top}
    total, p_known, q_known = 0.0, 0.0, 0.0
    for token, logprob in zip(reference.tokens, reference.logprobs, strict=True):
        if token in theirs:
            p = math.exp(logprob)
            if p > 0:  # float16 can round a tiny probability to none
                total += p * (logprob - theirs[token])
            p_known += p
            q_known += math.exp(theirs[token])
    # the stored list and its tail add up to 1 but for rounding to float16
    mass = sum(map(math.exp, reference.logprobs)) + reference.tail
    p_rest, q_rest = max(0.0, mass - p_known), max(1e-7, 1.0 - q_known)
    if p_rest > 0:
        total += p_rest * (math.log(p_rest) - math.log(q_rest))
    return Divergence(max(0.0, total), top[0].id == reference.tokens[0])
