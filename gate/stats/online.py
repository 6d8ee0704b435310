"""A test every night: levels that bound the number, or the share, of false alarms over a whole history."""

from collections.abc import Sequence

import numpy as np

from gate.stats import _validate
from gate.stats._validate import FloatArray

_GAMMA = 0.0772  # the literature's constant: the infinite sum of the weights is 0.976, and 1 is allowed


def alarm_level(alarms: float = 1.0, tests: int = 365) -> float:
    """Level of each test that gives a stated expected number of false alarms.

    Parameters
    ----------
    alarms : float, default 1
        False alarms accepted in expectation over the period, above 0 and at most `tests`.
    tests : int, default 365
        Tests made in the period (a year of nights).

    Returns
    -------
    float
        alarms / tests, capped just below 1.

    Raises
    ------
    ValueError
        Where an argument is out of range.

    Notes
    -----
    Guarantee: if every test of the period is run at this level and none of the candidates is worse, the
    expected number of false alarms is at most `alarms`, under any dependence between the nights (expectations
    add up), hence also where all nights share one stored baseline. The probability of at least one false
    alarm in the period is not small: for alarms = 1 and independent nights about 63 %.

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
    """Weights of LORD++, 0.0772 ln(max(j, 2)) / (j exp(sqrt(ln j))), j = 1, 2, ...; their sum is below 1."""
    j = np.arange(1, count + 1, dtype=np.float64)
    return np.asarray(_GAMMA * np.log(np.maximum(j, 2.0)) / (j * np.exp(np.sqrt(np.log(j)))))


def lord_levels(
    p_values: Sequence[float] | FloatArray, alpha: float = 0.05, initial_wealth: float | None = None
) -> FloatArray:
    """Levels of LORD++: online control of the false discovery rate over a stream of tests.

    Parameters
    ----------
    p_values : array of float, shape (nights,)
        P-values of the past tests, oldest first; may be empty.
    alpha : float, default 0.05
        False discovery rate to keep.
    initial_wealth : float, optional
        Level spent before the first alarm, above 0 and at most `alpha`; alpha / 2 by default.

    Returns
    -------
    ndarray of float, shape (nights + 1,)
        Level of each past test and, last, of the next one: alarm where p <= level. The level of a test
        depends only on the alarms before it.

    Raises
    ------
    ValueError
        Where a p-value or a level is out of range.

    Notes
    -----
    With w_j the weights of `lord_weights`, W the initial wealth and t_1 < t_2 < ... the nights of alarms
    before t: level_t = w_t W + w_(t - t_1) (alpha - W) + alpha sum over j >= 2 of w_(t - t_j).

    Guarantees. (1) On a model that never changes, the probability of any alarm, ever, is at most W, under any
    dependence between the nights: before the first alarm the levels sum to less than W. (2) If the p-values
    of unchanged nights are independent of each other and of all others, the expected share of false alarms
    among all alarms is at most `alpha` at every night. (3) If, given the past alarms, they are only
    conditionally uniform or larger, E[false alarms] / E[max(alarms, 1)] is at most `alpha`. Nights that share
    one stored baseline are dependent through its noise: then (1) and `alarm_level` hold, but (2) and (3) are
    not covered by the theorem. The price is power: without alarms the level falls like
    ln t / (t exp(sqrt(ln t))).

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
    past = _validate.p_values("p_values", p_values)
    _validate.open_unit("alpha", alpha)
    wealth = 0.5 * alpha if initial_wealth is None else initial_wealth
    if not 0.0 < wealth <= alpha:
        raise ValueError(
            f"initial_wealth: expected a number above 0 and at most alpha {alpha}, found {wealth}"
        )
    weights = lord_weights(past.size + 1)
    levels = weights * wealth
    first = True
    for night in range(past.size):
        if past[night] <= levels[night]:
            levels[night + 1 :] += (alpha - wealth if first else alpha) * weights[: past.size - night]
            first = False
    return levels
