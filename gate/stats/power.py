"""Power of the exact one-sided McNemar test on one task, its detectable drop and its required sample size."""

import itertools
import math
from functools import lru_cache

import numpy as np
from scipy import special

from gate.stats import _binomial, _validate
from gate.stats._validate import IntArray

_SPREAD = 10.0  # standard deviations of the discordant count; the probability beyond is below 1e-20
_MAX_N = 10**10
_BLOCK = 512  # discordant counts whose critical counts are computed together
_BRACKET = 1e-5  # the bisection of a detectable drop stops at this fraction of the drop


class _Design:
    """The test at every plausible discordant count of n items: the parts that do not depend on the drop."""

    def __init__(self, n: int, flip_rate: float, alpha: float) -> None:
        mean = n * flip_rate
        spread = _SPREAD * math.sqrt(mean * (1.0 - flip_rate)) + 50.0
        discordant = np.arange(max(0, math.floor(mean - spread)), min(n, math.ceil(mean + spread)) + 1)
        weight = np.exp(
            special.gammaln(n + 1.0)
            - special.gammaln(discordant + 1.0)
            - special.gammaln(n - discordant + 1.0)
            + special.xlogy(discordant, flip_rate)
            + special.xlog1py(n - discordant, -flip_rate)
        )
        weight = weight / np.sum(weight)
        kept = weight > 1e-20
        self.flip_rate = flip_rate
        self.discordant, self.weight = discordant[kept], weight[kept]
        self.critical = _critical_counts(self.discordant, alpha)

    def power(self, drop: float) -> float:
        """Return the probability of rejection at a true drop."""
        share = min(max(0.5 + drop / (2.0 * self.flip_rate), 0.0), 1.0)
        able = self.critical <= self.discordant
        tail = special.betainc(
            np.where(able, self.critical, 1), np.where(able, self.discordant - self.critical + 1, 1), share
        )
        tail = np.where(self.critical == 0, 1.0, tail)
        return float(min(1.0, np.sum(self.weight * np.where(able, tail, 0.0))))


def _critical_counts(m: IntArray, alpha: float) -> IntArray:
    """Return the critical count of each discordant count; those of neighbouring designs are computed once."""
    first = int(m[0]) // _BLOCK
    blocks = [_critical_block(block, alpha) for block in range(first, int(m[-1]) // _BLOCK + 1)]
    return np.concatenate(blocks)[m - first * _BLOCK]


@lru_cache(maxsize=256)
def _critical_block(block: int, alpha: float) -> IntArray:
    return _binomial.critical_count(np.arange(block * _BLOCK, (block + 1) * _BLOCK), alpha)


def power(n: int, flip_rate: float, drop: float, alpha: float = 0.05) -> float:
    """Return the probability that the exact one-sided McNemar test rejects.

    Parameters
    ----------
    n : int
        Paired items.
    flip_rate : float
        Expected share of discordant items, regressions plus improvements, those that the drop adds included, in
        [0, 1].
    drop : float
        True drop as a proportion, of size at most `flip_rate`; negative where the candidate is better.
    alpha : float, default 0.05
        Level of the test.

    Returns
    -------
    float
        The power.

    Notes
    -----
    The discordant count M is Bin(n, flip_rate). Given M, the regressions are
    Bin(M, 1/2 + drop / (2 flip_rate)), and the test rejects at its exact critical count or above. The sum over M
    extends to ten standard deviations; there is no normal approximation.

    References
    ----------
    Miettinen (1968), Biometrics 24, 339-352 (power given the number of discordant pairs).

    Examples
    --------
    >>> from gate.stats import power
    >>> round(power(1319, 0.10, 0.02, 0.05), 3)
    0.717
    """
    _validate.at_least("n", n, 0)
    _validate.proportions("flip_rate", flip_rate)
    _validate.open_unit("alpha", alpha)
    if not abs(drop) <= flip_rate * (1 + 1e-12):
        raise ValueError(f"drop: expected an absolute value of at most the flip rate {flip_rate}, found {drop}")
    return 0.0 if flip_rate == 0.0 or n == 0 else _Design(n, flip_rate, alpha).power(drop)


def detectable_drop(n: int, noise_rate: float, alpha: float = 0.05, power: float = 0.8, largest: float = 1.0) -> float:
    """Return the smallest true drop that the exact one-sided McNemar test detects with the given power.

    Parameters
    ----------
    n, alpha
        As for `power`.
    noise_rate : float
        Share of items that flip by noise alone, half of them regressions, in [0, 1].
    power : float, default 0.8
        Required power.
    largest : float, default 1
        Largest possible drop: the baseline's accuracy.

    Returns
    -------
    float
        The drop as a proportion; nan if the power is not reached even at the largest drop.

    Notes
    -----
    A drop d adds regressions to the noise: improvements have the rate noise_rate / 2, regressions noise_rate / 2 + d,
    so that the power is `power(n, noise_rate + d, d)`. The drop is found
    by a bracketing secant method and linear interpolation.

    Examples
    --------
    >>> from gate.stats import detectable_drop
    >>> [round(100 * detectable_drop(1000, flips / 1000), 2) for flips in (10, 20, 50)]
    [1.22, 1.53, 2.19]
    """
    _validate.open_unit("power", power)
    _validate.proportions("noise_rate", noise_rate)
    low, high = 0.0, min(largest, 1.0 - noise_rate)
    below, above = alpha, _with_noise(n, noise_rate, high, alpha)
    if above < power:
        return math.nan
    z = float(special.ndtri(power) - special.ndtri(alpha))
    tried = 0.5 * (z * z + z * math.sqrt(z * z + 4.0 * n * noise_rate)) / n  # of a normal approximation
    last, last_probit = 0.0, float(special.ndtri(alpha))
    for step in itertools.count(1):
        if high - low <= _BRACKET * high:
            break
        # however curved the power is, every fourth step halves the bracket
        middle = tried if low < tried < high and step % 4 else 0.5 * (low + high)
        reached = _with_noise(n, noise_rate, middle, alpha)
        if reached < power:
            low, below = middle, reached
        else:
            high, above = middle, reached
        # the probit of the power is nearly linear: a secant, and a little beyond its root to close the bracket
        probit = float(np.clip(special.ndtri(reached), -8.0, 8.0))
        slope = (probit - last_probit) / (middle - last)
        root = middle + (float(special.ndtri(power)) - probit) / slope if slope > 0.0 else middle
        beyond = max(0.05 * abs(root - middle), 0.4 * _BRACKET * high)
        tried = root + beyond if reached < power else root - beyond
        last, last_probit = middle, probit
    # within so small a bracket the power is linear
    return high if above <= below else high - (high - low) * (above - power) / (above - below)


def required_n(noise_rate: float, drop: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return the number of items that the exact one-sided McNemar test needs to detect a drop.

    Parameters
    ----------
    noise_rate, alpha
        As for `detectable_drop`.
    drop : float
        True drop, a proportion above 0; noise_rate + drop is at most 1.
    power : float, default 0.8
        Required power.

    Returns
    -------
    int
        An n that reaches the power while n - 1 does not. (The power of an exact test is not quite monotone in n,
        so a few smaller n may reach it too.)

    Raises
    ------
    ValueError
        If more than 10**10 items would be needed.

    Examples
    --------
    >>> from gate.stats import required_n
    >>> required_n(0.08, 0.02)
    1629
    """
    _validate.open_unit("power", power)
    _validate.proportions("noise_rate", noise_rate)
    if not 0.0 < drop <= (1.0 - noise_rate) * (1 + 1e-12):
        raise ValueError(
            f"drop: expected a number above 0 and at most 1 - noise_rate ({1 - noise_rate:g}), found {drop}"
        )
    high = 1
    while _with_noise(high, noise_rate, drop, alpha) < power:
        high *= 2
        if high > _MAX_N:
            raise ValueError(f"drop: expected a drop that {_MAX_N} items can detect, found {drop}")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if _with_noise(middle, noise_rate, drop, alpha) < power:
            low = middle
        else:
            high = middle
    return high


def required_n_certify(
    variance: float, bound: float, drop: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Return the number of items that certify a bound on the drop with the given power (a normal approximation).

    Parameters
    ----------
    variance : float
        Variance of the difference of one item: the flip rate, for binary scores.
    bound : float
        The drop to rule out, a proportion.
    drop : float, default 0
        True drop, a proportion.
    alpha : float, default 0.05
        Level of the certificate.
    power : float, default 0.8
        Required power.

    Returns
    -------
    int or None
        The items; None where the true drop is not below the bound, as no number of items then certifies it.

    Notes
    -----
    n = variance ((z_alpha + z_power) / (bound - drop))**2, the sample size of a one-sided z test. The exact test
    that certifies counts needs a few items more.

    Examples
    --------
    >>> from gate.stats import required_n_certify
    >>> required_n_certify(0.1, 0.02), required_n_certify(0.1, 0.02, drop=0.03)
    (1546, None)
    """
    if drop >= bound:
        return None
    z = float(special.ndtri(power) - special.ndtri(alpha))
    return math.ceil(variance * (z / (bound - drop)) ** 2)


def _with_noise(n: int, noise_rate: float, drop: float, alpha: float) -> float:
    """Return the power at a drop that adds regressions to the noise."""
    return power(n, min(noise_rate + drop, 1.0), drop, alpha)
