"""Holm's adjustment over several tasks, and the tasks that cannot be rejected under it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gate.stats import _validate
from gate.stats._validate import Counts, FloatArray


def holm(pvalues: Sequence[float] | FloatArray) -> FloatArray:
    """Holm-adjusted p-values.

    Parameters
    ----------
    pvalues : array of float, shape (tasks,)
        Raw p-values.

    Returns
    -------
    ndarray of float, shape (tasks,)
        Adjusted p-values in the order given: monotone in the raw ones and at most 1. If tasks are rejected
        where the adjusted value is at most alpha, the probability of any false rejection is at most alpha.

    Notes
    -----
    With p_(1) <= ... <= p_(K), the adjusted p_(i) is the maximum over j <= i of min(1, (K - j + 1) p_(j)). Valid
    under any dependence between the tasks.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    Examples
    --------
    >>> from gate.stats import holm
    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = _validate.pvalues("pvalues", pvalues)
    order = np.argsort(raw, kind="stable")
    scaled = raw[order] * np.arange(raw.size, 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def can_reject(
    m: int | Counts,
    alpha: float,
    pvalues: Sequence[float] | FloatArray | None = None,
    smallest: Sequence[float] | FloatArray | None = None,
) -> NDArray[np.bool_]:
    """Return which tasks have enough discordant items to be rejected by Holm's step-down method.

    Parameters
    ----------
    m : int or integer array, shape (tasks,)
        Discordant items b + c of each task.
    alpha : float
        Family-wise error rate.
    pvalues : array of float, shape (tasks,), optional
        The observed p-values. Without them each task is compared with the first Holm level, alpha / tasks;
        with them, with the level that the other tasks' p-values leave to it.
    smallest : array of float, shape (tasks,), optional
        Smallest attainable p-value of each task. Default: 2**-m, that of the exact test at margin 0.

    Returns
    -------
    ndarray of bool, shape (tasks,)
        False where the test would not reject even if all discordant items were regressions.

    Notes
    -----
    The level of task k is alpha / (number of tasks not rejected before it if its own p-value is the smallest).

    References
    ----------
    Tarone (1990), Biometrics 46, 515-522 (smallest attainable p-values in multiple testing).

    Examples
    --------
    >>> from gate.stats import can_reject
    >>> can_reject([4, 5, 9], 0.05).tolist()
    [False, False, True]
    >>> can_reject([4, 5, 9], 0.05, pvalues=[0.5, 0.5, 1e-4]).tolist()
    [False, False, True]
    """
    discordant = np.atleast_1d(_validate.counts("m", m))
    _validate.open_unit("alpha", alpha)
    lowest = 2.0**-discordant if smallest is None else _validate.pvalues("smallest", smallest)
    if lowest.shape != discordant.shape:
        raise ValueError(f"smallest: expected one p-value per task ({discordant.size}), found {lowest.size}")
    if pvalues is None:
        return np.asarray(lowest <= alpha / discordant.size)
    raw = _validate.pvalues("pvalues", pvalues)
    if raw.shape != discordant.shape:
        raise ValueError(f"pvalues: expected one p-value per task ({discordant.size}), found {raw.size}")
    able = np.empty(raw.size, dtype=np.bool_)
    for k in range(raw.size):
        best = raw.copy()
        best[k] = lowest[k]
        able[k] = holm(best)[k] <= alpha
    return able
