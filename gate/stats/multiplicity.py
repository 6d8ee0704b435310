"""Several tasks, one family-wise error rate: Holm's step-down and the tasks that cannot reject under it."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gate.stats import _validate
from gate.stats._validate import Counts, FloatArray


def holm(p: Sequence[float] | FloatArray) -> FloatArray:
    """Holm-adjusted p-values.

    Parameters
    ----------
    p : array of float, shape (tasks,)
        Raw p-values.

    Returns
    -------
    ndarray of float, shape (tasks,)
        Adjusted p-values in the order given: monotone in the raw ones and at most 1. Rejecting where the
        adjusted value is at most alpha keeps the probability of any false rejection at alpha or below.

    Raises
    ------
    ValueError
        Where a value is not a p-value.

    Notes
    -----
    With p_(1) <= ... <= p_(K): adjusted p_(i) = max over j <= i of min(1, (K - j + 1) p_(j)). Valid under any
    dependence between the tasks.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    Examples
    --------
    >>> from gate.stats import holm
    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = _validate.p_values("p", p)
    order = np.argsort(raw, kind="stable")
    scaled = raw[order] * np.arange(raw.size, 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def can_reject(
    m: int | Counts, alpha: float, p: Sequence[float] | FloatArray | None = None
) -> NDArray[np.bool_]:
    """Whether each task has enough discordant items to be rejected under Holm's step-down.

    Parameters
    ----------
    m : int or integer array, shape (tasks,)
        Discordant items b + c of each task.
    alpha : float
        Family-wise error rate.
    p : array of float, shape (tasks,), optional
        The observed p-values. Without them each task is held to the first Holm level, alpha / tasks; with
        them to the level it meets given what the other tasks show.

    Returns
    -------
    ndarray of bool, shape (tasks,)
        False where even all discordant items being regressions, p = 2**-m, would not reject.

    Raises
    ------
    ValueError
        Where an argument is out of range or the lengths differ.

    Notes
    -----
    The level of task k is alpha / (tasks not rejected before it when its own p-value is 2**-m_k).

    References
    ----------
    Tarone (1990), Biometrics 46, 515-522 (smallest attainable p-values in multiple testing).

    Examples
    --------
    >>> from gate.stats import can_reject
    >>> can_reject([4, 5, 9], 0.05).tolist()
    [False, False, True]
    >>> can_reject([4, 5, 9], 0.05, p=[0.5, 0.5, 1e-4]).tolist()
    [False, False, True]
    """
    discordant = np.atleast_1d(_validate.counts("m", m))
    _validate.open_unit("alpha", alpha)
    smallest = -discordant * math.log(2.0)
    if p is None:
        return np.asarray(smallest <= math.log(alpha / discordant.size))
    raw = _validate.p_values("p", p)
    if raw.shape != discordant.shape:
        raise ValueError(f"p: expected one p-value per task ({discordant.size}), found {raw.size}")
    able = np.empty(raw.size, dtype=np.bool_)
    for k in range(raw.size):
        best = raw.copy()
        best[k] = math.exp(smallest[k])
        able[k] = holm(best)[k] <= alpha
    return able
