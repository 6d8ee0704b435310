"""McNemar's test for one task, one-sided: does the candidate lose more items than it wins."""

from typing import overload

import numpy as np

from gate.stats import _binomial, _validate
from gate.stats._validate import Counts, FloatArray


@overload
def mcnemar_exact(b: int, c: int) -> float: ...
@overload
def mcnemar_exact(b: Counts, c: Counts) -> FloatArray: ...
def mcnemar_exact(b: int | Counts, c: int | Counts) -> float | FloatArray:
    """Exact one-sided McNemar test for a degradation.

    Parameters
    ----------
    b : int or integer array
        Regressions: items the baseline answers rightly and the candidate wrongly.
    c : int or integer array
        Improvements: items the baseline answers wrongly and the candidate rightly.

    Returns
    -------
    float or ndarray of float
        The p-value P[Bin(b + c, 1/2) >= b]; one per task where `b` and `c` are arrays.

    Raises
    ------
    ValueError
        Where a count is negative, not a whole number, or the shapes differ.

    Notes
    -----
    Given m = b + c discordant items, b is Bin(m, 1/2) under the null hypothesis of no change, whatever the
    items on which both models agree. The test is exact (its size never exceeds alpha) for independent items;
    for items in clusters use `sign_flip` with `clusters`. m = 0 gives 1. The tail is taken in log space: p =
    1e-300 has as many correct digits as p = 0.1.

    References
    ----------
    McNemar (1947), Psychometrika 12, 153-157. Kübler et al. (2026), arXiv:2602.10144 (the one-sided exact
    form).

    Examples
    --------
    >>> from gate.stats import mcnemar_exact
    >>> f"{mcnemar_exact(68, 18):.4g}"
    '2.647e-08'
    >>> mcnemar_exact([7, 0], [0, 0]).tolist()
    [0.0078125, 1.0]
    """
    first, second = _validate.pair(b, c)
    p = _binomial.sf(first, first + second)
    return float(p) if p.ndim == 0 else p


@overload
def mcnemar_midp(b: int, c: int) -> float: ...
@overload
def mcnemar_midp(b: Counts, c: Counts) -> FloatArray: ...
def mcnemar_midp(b: int | Counts, c: int | Counts) -> float | FloatArray:
    """One-sided mid-p McNemar test, for reports only: it does not decide.

    Parameters
    ----------
    b, c : int or integer array
        Regressions and improvements, as for `mcnemar_exact`.

    Returns
    -------
    float or ndarray of float
        P[Bin(b + c, 1/2) > b] + P[Bin(b + c, 1/2) = b] / 2.

    Raises
    ------
    ValueError
        Where a count is negative, not a whole number, or the shapes differ.

    Notes
    -----
    Less conservative than the exact test and close to its nominal size on average, but its size can exceed
    alpha. m = 0 is reported as 1 (no evidence), where the formula would give 1/2.

    References
    ----------
    Fagerland, Lydersen, Laake (2013), BMC Medical Research Methodology 13:91.

    Examples
    --------
    >>> from gate.stats import mcnemar_midp
    >>> round(mcnemar_midp(1, 2), 4)
    0.6875
    """
    first, second = _validate.pair(b, c)
    total = first + second
    half = 0.5 * np.exp(_binomial.log_pmf(first, total))
    p = np.where(total == 0, 1.0, _binomial.sf(first + 1, total) + half)
    return float(p) if p.ndim == 0 else p
