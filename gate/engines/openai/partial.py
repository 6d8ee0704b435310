"""KL divergence from a server's list of likely tokens, which may lack tokens of the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gate.engines.openai.wire import Likely
from gate.engines.tokens.divergences import divergences
from gate.stats.divergence import kl_bound
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

    Where the list has every token of the reference, it is the estimate over the whole vocabulary. Else tokens of the
    reference that the list lacks join the tail on both sides. A coarser partition never increases the divergence (data
    processing inequality), so the result is still a lower bound.
    """
    if not has_ids(top):
        return None
    # the floor only makes the divergence smaller
    listed = {token.id: max(token.logprob, _LOWEST) for token in top}
    likeliest = max(top, key=lambda token: token.logprob)
    same = likeliest.id == reference.tokens[0]
    if all(token in listed for token in reference.ids):
        q_top, q_drawn = ([[listed[token] for token in ids]] for ids in (reference.tokens, reference.drawn))
        return divergences([reference], np.array(q_top), np.array(q_drawn), [same])[0]
    known = [place for place, token in enumerate(reference.tokens) if token in listed]
    p = np.array([[reference.logprobs[place] for place in known]])
    q = np.array([[listed[reference.tokens[place]] for place in known]])
    # the stored list and its tail sum to 1, up to float16 rounding
    mass = float(np.exp(reference.logprobs).sum()) + reference.tail
    rest = max(0.0, mass - float(np.exp(p).sum()))
    return Divergence(float(kl_bound(p, q, [rest])[0]), same, None, reference.position)
