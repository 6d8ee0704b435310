"""Evidence that may be checked after every item: a likelihood ratio against the fair coin."""

import math
from typing import overload

import numpy as np

from gate.stats import _binomial, _validate
from gate.stats._validate import Counts, FloatArray


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
