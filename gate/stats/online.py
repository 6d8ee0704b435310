"""Levels for a test that runs every night: bounds on the number or the rate of false alarms."""

from collections.abc import Sequence

import numpy as np

from gate.stats import _validate
from gate.stats._validate import FloatArray

_GAMMA = 0.0772  # from the literature: the weights sum to 0.976; at most 1 is allowed


def alarm_level(alarms: float = 1.0, tests: int = 365) -> float:
    """Return the level of each test that gives a stated expected number of false alarms.

    Parameters
    ----------
    alarms : float, default 1
        Expected false alarms over the period, above 0 and at most `tests`.
    tests : int, default 365
        Tests in the period (by default, one per night for a year).

    Returns
    -------
    float
        alarms / tests, capped just below 1.

    Notes
    -----
    Guarantee: if every test of the period uses this level and no candidate is worse, the expected number of
    false alarms is at most `alarms`. This is true under any dependence between the nights (expectations add
    up), hence also where all nights share one stored baseline. The probability of at least one false alarm in
    the period is not small: up to 63 % for alarms = 1 and independent nights.

    References
    ----------
    Spjøtvoll (1972), Annals of Mathematical Statistics 43, 398-411 (bounding the expected number of false
    rejections).

    Examples
    --------
    >>> from gate.stats import alarm_level
    >>> round(alarm_level(1, 365), 6)
    0.00274
    """
    _validate.at_least("tests", tests, 1)
    if not 0.0 < alarms <= tests:
        raise ValueError(f"alarms: expected a number above 0 and at most {tests}, found {alarms}")
    return min(alarms / tests, 1.0 - 1e-12)


def lord_weights(count: int) -> FloatArray:
    """Return the weights of LORD++, 0.0772 ln(max(j, 2)) / (j exp(sqrt(ln j))), j = 1, 2, ..., of sum below 1."""
    j = np.arange(1, count + 1, dtype=np.float64)
    return np.asarray(_GAMMA * np.log(np.maximum(j, 2.0)) / (j * np.exp(np.sqrt(np.log(j)))))


def lord_levels(
    pvalues: Sequence[float] | FloatArray, alpha: float = 0.05, initial_wealth: float | None = None
) -> FloatArray:
    """Return the levels of LORD++, which controls the false discovery rate over a stream of tests.

    Parameters
    ----------
    pvalues : array of float, shape (nights,)
        P-values of the past tests, oldest first; may be empty.
    alpha : float, default 0.05
        False discovery rate.
    initial_wealth : float, optional
        Sum of the levels before the first alarm, above 0 and at most `alpha`; by default alpha / 2.

    Returns
    -------
    ndarray of float, shape (nights + 1,)
        Levels of the past tests, then the level of the next one. A test raises an alarm where p <= level. Its
        level depends only on the alarms before it.

    Notes
    -----
    Let w_j be the weights of `lord_weights`, W the initial wealth and t_1 < t_2 < ... the nights of alarms
    before t. Then level_t = w_t W + w_(t - t_1) (alpha - W) + alpha sum over j >= 2 of w_(t - t_j).

    Guarantees. (1) For a model that never changes, the probability of any alarm, ever, is at most W under any
    dependence between the nights: before the first alarm the levels sum to less than W. (2) If the p-values of
    unchanged nights are independent of each other and of all others, the expected share of false alarms among
    all alarms is at most `alpha` at every night. (3) If they are only uniform or larger given the past alarms,
    E[false alarms] / E[max(alarms, 1)] is at most `alpha`. Nights that share one stored baseline are dependent
    through its noise: (1) and `alarm_level` remain valid, but the theorem does not cover (2) and (3). The price
    is power: without alarms the level falls like ln t / (t exp(sqrt(ln t))).

    References
    ----------
    Ramdas, Yang, Wainwright, Jordan (2017), NeurIPS 30 (LORD++). Javanmard, Montanari (2018), Annals of
    Statistics 46, 526-554 (the weights).

    Examples
    --------
    >>> from gate.stats import lord_levels
    >>> lord_levels([0.5, 1e-6]).round(5).tolist()
    [0.00134, 0.00029, 0.00159]
    """
    past = _validate.pvalues("pvalues", pvalues)
    _validate.open_unit("alpha", alpha)
    wealth = 0.5 * alpha if initial_wealth is None else initial_wealth
    if not 0.0 < wealth <= alpha:
        raise ValueError(f"initial_wealth: expected a number above 0 and at most alpha {alpha}, found {wealth}")
    weights = lord_weights(past.size + 1)
    levels = weights * wealth
    first = True
    for night in range(past.size):
        if past[night] <= levels[night]:
            levels[night + 1 :] += (alpha - wealth if first else alpha) * weights[: past.size - night]
            first = False
    return levels
