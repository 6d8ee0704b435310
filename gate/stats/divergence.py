"""KL divergence over the whole vocabulary, estimated from a few stored log-probabilities per position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_SMALLEST_TAIL = 1e-7  # what float32 leaves of a tail that is really empty


@dataclass(frozen=True)
class KLEstimate:
    """KL(p || q) of several positions.

    Attributes
    ----------
    kl : float64 array of shape (positions,)
        In nats.
    variance : float64 array of shape (positions,)
        Variance of each value over the random draws of tail tokens, in squared nats, itself an unbiased estimate; 0
        without a tail. NaN where a single draw tells nothing about it.
    """

    kl: FloatArray
    variance: FloatArray


def estimate_kl(
    p_top: npt.ArrayLike, q_top: npt.ArrayLike, p_tail: npt.ArrayLike, p_drawn: npt.ArrayLike, q_drawn: npt.ArrayLike
) -> KLEstimate:
    """Estimate KL(p || q) without bias from k fixed tokens and m tokens drawn from all others in proportion to p.

    Parameters
    ----------
    p_top, q_top : array-like of shape (positions, k)
        Log-probabilities (nats) of the same k tokens under both models; the tokens do not depend on the draws.
    p_tail : array-like of shape (positions,)
        Probability of all other tokens under p; 0 where the k tokens are the whole vocabulary.
    p_drawn, q_drawn : array-like of shape (positions, m)
        Log-probabilities of the m drawn tokens, drawn independently and with replacement.

    Returns
    -------
    KLEstimate

    Notes
    -----
    With the ratio r = q/p at the drawn tokens, and P and Q the tail's probability under p and q, the estimate is ::

        sum over the k tokens of p ln(p/q)  +  P mean(-ln r + beta (r - Q/P))

    The mean of r under the draws is Q/P, so the second term is P E[ln(p/q)] for every beta that does not depend on
    the draws: a control variate. For two near models, beta = 1 is best: -ln r is 1 - r up to second order. For distant
    ones r has a heavy tail, and beta = 0 is best. Here beta = max(0, 1 - 2 s^2), where s^2 is the variance of ln(p/q)
    over the k tokens. (If ln r were normal, s^2 / (exp(s^2) - 1) would be best, which is larger: the log-ratios of
    quantised models have heavier tails.)

    Rounding of the stored log-probabilities cancels to first order with beta = 1, if `p_tail` is 1 minus the sum of
    the rounded probabilities.
    """
    top, top_q = np.asarray(p_top, np.float64), np.asarray(q_top, np.float64)
    drawn, drawn_q = np.asarray(p_drawn, np.float64), np.asarray(q_drawn, np.float64)
    tail = np.asarray(p_tail, np.float64)
    inside = _inside(top, top_q)
    if not drawn.shape[-1]:
        return KLEstimate(inside, np.zeros_like(inside))
    with np.errstate(over="ignore"):  # a ratio beyond the largest float is infinite, and so is the estimate
        terms = drawn - drawn_q
        ratios = np.exp(-terms)
    beta = _beta(top - top_q)[:, None]
    # tail (r - Q/P), without a division by P
    difference = tail[:, None] * ratios - _tail_of(top_q)[:, None]
    parts = np.where(tail[:, None] > 0.0, tail[:, None] * terms + beta * difference, 0.0)
    count = parts.shape[1]
    variance = parts.var(axis=1, ddof=1) / count if count > 1 else np.where(tail > 0.0, np.nan, 0.0)
    return KLEstimate(inside + parts.mean(axis=1), variance)


def kl_bound(p_top: npt.ArrayLike, q_top: npt.ArrayLike, p_tail: npt.ArrayLike) -> FloatArray:
    """Return a lower bound of KL(p || q) from k tokens and one bucket for all others; arguments as in `estimate_kl`.

    Merging outcomes never increases a divergence (data processing inequality). Without a tail it is the divergence.
    """
    top, top_q = np.asarray(p_top, np.float64), np.asarray(q_top, np.float64)
    tail = np.asarray(p_tail, np.float64)
    outside = np.where(tail > 0.0, tail * np.log(np.maximum(tail, 1e-300) / _tail_of(top_q)), 0.0)
    # rounding of what is stored can make the divergence of equal distributions slightly negative
    return np.asarray(np.maximum(_inside(top, top_q) + outside, 0.0))


def _inside(p: FloatArray, q: FloatArray) -> FloatArray:
    weight = np.exp(p)
    return np.asarray(np.where(weight > 0.0, weight * (p - q), 0.0).sum(axis=1))


def _tail_of(top: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(1.0 - np.exp(top).sum(axis=1), _SMALLEST_TAIL))


def _beta(terms: FloatArray) -> FloatArray:
    """Return the weight of the control variate of each row, from the log-ratios ln(p/q) of its k tokens."""
    return np.asarray(np.maximum(0.0, 1.0 - 2.0 * np.clip(terms, -50.0, 50.0).var(axis=1)))
