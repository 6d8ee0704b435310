"""The divergence from stored distributions, once the log-probabilities of their tokens are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gate.stats.divergence import estimate_kl, kl_bound
from gate.tasks.requests import Distribution, Divergence


def divergences(
    references: Sequence[Distribution],
    q_top: npt.NDArray[np.float64],
    q_drawn: npt.NDArray[np.float64],
    same_top: Sequence[bool],
) -> list[Divergence]:
    """Return the divergence from each reference, whose tokens have the log-probabilities `q_top` and `q_drawn`.

    All references have the same numbers of tokens.
    """
    p_top = np.array([each.logprobs for each in references])
    p_tail = np.array([each.tail for each in references])
    if not p_tail.any():  # whole distributions: normalised again after their rounding to float16
        p_top = p_top - np.logaddexp.reduce(p_top, axis=1, keepdims=True)
    elif not q_drawn.shape[1]:
        bounds = kl_bound(p_top, q_top, p_tail).tolist()
        return [
            Divergence(kl, same, None, each.position)
            for kl, same, each in zip(bounds, same_top, references, strict=True)
        ]
    result = estimate_kl(p_top, q_top, p_tail, np.array([each.drawn_logprobs for each in references]), q_drawn)
    return [
        Divergence(kl, same, variance, each.position)
        for kl, variance, same, each in zip(
            result.kl.tolist(), result.variance.tolist(), same_top, references, strict=True
        )
    ]
