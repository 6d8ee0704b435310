"""E-values: evidence against "not worse" that can be averaged, and checked after every item."""

import functools
import math
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from gate.stats import _binomial, _validate
from gate.stats._validate import Counts, FloatArray

_NODES = 256  # bets in the mixture of `log_e_value_of_differences`
_CHUNK = 4096  # distinct differences at a time


@overload
def log_e_value(b: int, c: int) -> float: ...
@overload
def log_e_value(b: Counts, c: Counts) -> FloatArray: ...
def log_e_value(b: int | Counts, c: int | Counts) -> float | FloatArray:
    """Return the natural logarithm of the e-value against "no more regressions than improvements".

    Parameters
    ----------
    b, c : int or integer array
        Regressions and improvements so far.

    Returns
    -------
    float or ndarray of float
        ln e. Stop and fail once e >= 1 / alpha_early.

    Notes
    -----
    With m = b + c, e = 2**(m + 1) * integral over q in [1/2, 1] of q**b (1 - q)**c dq: the likelihood of q
    uniform on [1/2, 1] against q = 1/2. Over items in random order e is, under the null, a non-negative
    supermartingale that starts at 1, so P[e ever reaches 1 / alpha] <= alpha however often it is checked
    (Ville's inequality). Use alpha_early + alpha_final = alpha. It is computed as ln 2 - ln(m + 1) -
    ln P[Bin(m, 1/2) = b] + ln P[Bin(m + 1, 1/2) >= c + 1], which neither overflows nor cancels.

    References
    ----------
    Ville (1939), Étude critique de la notion de collectif. Ramdas et al. (2023), Statistical Science 38,
    576-601.

    Examples
    --------
    >>> from gate.stats import log_e_value
    >>> round(log_e_value(7, 0), 4)
    3.4618
    >>> log_e_value(0, 0)
    0.0
    """
    regressions, improvements = _validate.pair(b, c)
    total = regressions + improvements
    value = (
        math.log(2.0)
        - np.log(total + 1.0)
        - _binomial.log_pmf(regressions, total)
        + _binomial.log_sf(improvements + 1, total + 1)
    )
    return float(value) if value.ndim == 0 else value


def log_e_value_of_differences(
    differences: Sequence[float] | FloatArray,
    clusters: Sequence[str] | Sequence[int] | NDArray[np.int64] | NDArray[np.str_] | None = None,
    *,
    margin: float = 0.0,
) -> float:
    """Return the natural logarithm of an e-value against "no drop", or "a drop of at most `margin`", for any scores.

    Parameters
    ----------
    differences : array of float, shape (items,)
        Baseline score minus candidate score of each item: positive where the candidate is worse.
    clusters : array of int or str, shape (items,), optional
        Cluster of each item. By default items are independent.
    margin : float, default 0
        Tolerated mean drop, in the score's own units; above 0 it needs scores in [0, 1].

    Returns
    -------
    float
        ln e. Unlike `log_e_value`, it is valid for a single test of all items only.

    Notes
    -----
    Let x be the differences, summed within clusters. margin = 0: e is the mean over lambda in [0, 1] of the product of
    1 + lambda x / max |x|. Given the sizes |x|, E[e] = 1 if the signs are independent fair coins, the null hypothesis
    of `sign_flip`. For binary independent items it is that of `log_e_value`, up to the numerical integration. margin >
    0: with w items in a cluster, x - w margin is at least -(1 + margin) w; e is the mean of the products of 1 +
    lambda (x - w margin) / ((1 + margin) max w), and E[e] <= 1 if the clusters are independent and the expected mean
    drop is at most the margin. The mean over lambda is a Gauss-Legendre sum with positive weights: a finite mixture
    over lambda, so e is valid however large the error of the integration.

    References
    ----------
    Waudby-Smith, Ramdas (2024), J. R. Stat. Soc. B 86, 1-27 (bets on bounded means). Vovk, Wang (2021), Annals of
    Statistics 49, 1736-1754 (means of e-values).

    Examples
    --------
    >>> from gate.stats import log_e_value_of_differences
    >>> round(log_e_value_of_differences([1.0] * 7), 4)
    3.4618
    >>> round(log_e_value_of_differences([0.5, -0.5, 0.0]), 4)
    -0.4055
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"differences: expected finite numbers, one per item, found an array of shape {values.shape}")
    if margin < 0.0:
        raise ValueError(f"margin: expected a number of at least 0, found {margin}")
    if margin > 0.0 and (np.abs(values) > 1.0).any():
        raise ValueError("differences: expected scores in [0, 1] where a margin is tested, found a larger difference")
    items = np.ones_like(values)
    if clusters is not None:
        _, inverse = np.unique(np.asarray(clusters), return_inverse=True)
        items = np.bincount(inverse).astype(np.float64)
        values = np.bincount(inverse, weights=values).astype(np.float64)
    largest = float((1.0 + margin) * items.max(initial=0.0)) if margin else float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    sizes, counts = np.unique((values - margin * items) / largest, return_counts=True)
    bets, weights = _bets()
    logs = np.zeros_like(bets)
    for start in range(0, sizes.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        logs += np.log1p(np.outer(bets, np.maximum(sizes[part], -1.0))) @ counts[part]
    return float(logsumexp(logs, b=weights))


@functools.cache
def _bets() -> tuple[FloatArray, FloatArray]:
    """Return the bets, in (0, 1), and their weights, which sum to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return 0.5 * (nodes + 1.0), weights / weights.sum()
