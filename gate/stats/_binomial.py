"""The fair-coin binomial distribution, on which every p-value of this package rests.

`P[Bin(m, 1/2) = b]` follows Loader (2000): Stirling remainders plus a deviance. Its relative error stays near
1e-14 at any m. Differences of `gammaln` lose their digits beyond a million pairs.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats._validate import FloatArray

Integers: TypeAlias = NDArray[np.int64] | np.int64

_LN2 = math.log(2.0)
_TRUSTED = 1e-280  # below this the incomplete beta function nears underflow; a series takes over
_SMALL = 16
_SMALL_REMAINDERS = np.array(
    [0.0] + [math.lgamma(k + 1.0) - (k + 0.5) * math.log(k) + k - 0.5 * math.log(2 * math.pi) for k in range(1, _SMALL)]
)


def _stirling_remainder(k: FloatArray) -> FloatArray:
    """Return ln k! minus Stirling's approximation, for k >= 1."""
    small = k < _SMALL
    x = np.where(small, float(_SMALL), k)
    square = x * x
    tail = 1 / 1260 - (1 / 1680 - (1 / 1188 - 691 / 360360 / square) / square) / square
    series = (1 / 12 - (1 / 360 - tail / square) / square) / x
    exact = _SMALL_REMAINDERS[np.where(small, k, 0.0).astype(np.int64)]
    return np.where(small, exact, series)


def log_pmf(b: Integers, m: Integers) -> FloatArray:
    """Return ln P[Bin(m, 1/2) = b] for 0 <= b <= m, elementwise."""
    heads, total = np.broadcast_arrays(np.asarray(b, dtype=np.float64), np.asarray(m, dtype=np.float64))
    tails = total - heads
    inside = (heads > 0) & (tails > 0)
    x, y, t = np.where(inside, heads, 1.0), np.where(inside, tails, 1.0), np.where(inside, total, 2.0)
    imbalance = (x - y) / t
    near = np.where(np.abs(imbalance) < 0.5, imbalance, 0.0)
    deviance = np.where(
        np.abs(imbalance) < 0.5,
        0.5 * t * (2.0 * near * np.arctanh(near) + np.log1p(-near * near)),
        x * np.log(2.0 * x / t) + y * np.log(2.0 * y / t),
    )
    remainder = _stirling_remainder(t) - _stirling_remainder(x) - _stirling_remainder(y)
    value = remainder - deviance + 0.5 * np.log(t / (2.0 * math.pi * x * y))
    return np.where(inside, value, -total * _LN2)


def _log_far_tail(b: FloatArray, m: FloatArray) -> FloatArray:
    """Return ln P[Bin(m, 1/2) >= b] far above m/2: the first term times a fast-converging series of ratios."""
    term, total, step = np.ones_like(b), np.ones_like(b), 0.0
    while bool((term > 1e-17 * total).any()):
        term = term * np.maximum(m - b - step, 0.0) / (b + 1.0 + step)
        total = total + term
        step += 1.0
    return log_pmf(b.astype(np.int64), m.astype(np.int64)) + np.log(total)


def log_sf(b: Integers, m: Integers) -> FloatArray:
    """Return ln P[Bin(m, 1/2) >= b], elementwise: 0 where b <= 0, -inf where b > m."""
    heads, total = np.broadcast_arrays(np.asarray(b, dtype=np.float64), np.asarray(m, dtype=np.float64))
    inside = (heads > 0) & (heads <= total)
    x = np.where(inside, heads, 1.0)
    y = np.where(inside, total - heads + 1.0, 1.0)
    upper_half = x >= y
    tail = special.betainc(np.maximum(x, y), np.minimum(x, y), 0.5)
    far = inside & upper_half & (tail < _TRUSTED)
    with np.errstate(divide="ignore"):
        value = np.where(upper_half, np.log(np.maximum(tail, _TRUSTED)), np.log1p(-tail))
    if far.any():
        value[far] = _log_far_tail(x[far], np.asarray(total)[far])
    return np.where(inside, value, np.where(heads <= 0, 0.0, -np.inf))


def sf(b: Integers, m: Integers) -> FloatArray:
    """Return P[Bin(m, 1/2) >= b], elementwise.

    Near the centre this is more accurate than the exponential of `log_sf`.
    """
    heads, total = np.broadcast_arrays(np.asarray(b, dtype=np.float64), np.asarray(m, dtype=np.float64))
    inside = (heads > 0) & (heads <= total)
    direct = special.betainc(np.where(inside, heads, 1.0), np.where(inside, total - heads + 1.0, 1.0), 0.5)
    value = np.where(inside, direct, np.where(heads <= 0, 1.0, 0.0))
    far = inside & (direct < _TRUSTED)
    if far.any():
        value[far] = np.exp(log_sf(b, m)[far])
    return value


def critical_count(m: Integers, alpha: float) -> NDArray[np.int64]:
    """Return the smallest b with P[Bin(m, 1/2) >= b] <= alpha, elementwise; m + 1 where no b reaches alpha."""
    total = np.asarray(m, dtype=np.int64)
    if alpha >= 1.0:
        return np.zeros_like(total)
    level = math.log(alpha)
    guess = np.ceil(0.5 * total - 0.5 * special.ndtri(alpha) * np.sqrt(total)).astype(np.int64)
    count = np.clip(guess, 0, total + 1)
    while True:
        up = (log_sf(count, total) > level) & (count <= total)
        down = (count > 0) & (log_sf(count - 1, total) <= level) & ~up
        if not (up.any() or down.any()):
            return count
        count = count + up - down


def clopper_pearson(successes: Integers, trials: Integers, confidence_level: float) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of the two-sided Clopper-Pearson interval of a proportion, elementwise."""
    return clopper_pearson_bounds(successes, trials, 0.5 - 0.5 * confidence_level)


def clopper_pearson_bounds(successes: Integers, trials: Integers, tail: float) -> tuple[FloatArray, FloatArray]:
    """Return the lower and upper Clopper-Pearson bound, each with the error probability `tail`, elementwise.

    `scipy.stats.binomtest(...).proportion_ci(method="exact")` gives the same numbers, but `scipy.stats` takes
    half a second to import.
    """
    x, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    low = np.where(x == 0, 0.0, special.betaincinv(np.maximum(x, 1.0), n - x + 1.0, tail))
    high = np.where(x == n, 1.0, special.betainccinv(x + 1.0, np.maximum(n - x, 1.0), tail))
    # scipy returns nan where the tail is too small to invert; 0 and 1 are bounds at any level
    return np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=1.0)
