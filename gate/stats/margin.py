"""Score tests of a paired drop against a margin, in both directions."""

from typing import overload

import numpy as np
from scipy import special

from gate.stats import _binomial, _tango, _validate
from gate.stats._validate import Counts, FloatArray
from gate.stats.results import MarginTestResult, unwrap


@overload
def noninferiority(b: int, c: int, n: int, margin: float) -> MarginTestResult[float]: ...
@overload
def noninferiority(b: Counts, c: Counts, n: int | Counts, margin: float) -> MarginTestResult[FloatArray]: ...
def noninferiority(
    b: int | Counts, c: int | Counts, n: int | Counts, margin: float
) -> MarginTestResult[float] | MarginTestResult[FloatArray]:
    """Score test of H0 "the drop is at least `margin`".

    Parameters
    ----------
    b, c, n : int or integer array
        Regressions, improvements and paired items, b + c <= n.
    margin : float
        The drop to rule out, a proportion, 0 < margin < 1.

    Returns
    -------
    MarginTestResult
        `statistic` is Tango's Z at the margin, `pvalue` is Phi(Z).

    Notes
    -----
    Rejecting at p <= alpha certifies with confidence 1 - alpha that the drop is below the margin. The test is
    asymptotic. Inverted, it gives the upper bound of `tango_interval`.

    References
    ----------
    Tango (1998), Statistics in Medicine 17, 891-908.

    Examples
    --------
    >>> from gate.stats import noninferiority
    >>> f"{noninferiority(163, 168, 25282, margin=0.01).pvalue:.2g}"
    '3.4e-33'
    """
    counts = _validate.triple(b, c, n)
    _validate.open_unit("margin", margin)
    z = _tango.score_z(*counts, np.asarray(margin))
    return MarginTestResult(unwrap(z), unwrap(special.ndtr(z)), margin)


@overload
def margin_test(b: int, c: int, n: int, margin: float) -> MarginTestResult[float]: ...
@overload
def margin_test(b: Counts, c: Counts, n: int | Counts, margin: float) -> MarginTestResult[FloatArray]: ...
def margin_test(
    b: int | Counts, c: int | Counts, n: int | Counts, margin: float
) -> MarginTestResult[float] | MarginTestResult[FloatArray]:
    """Test of H0 "the drop is at most `margin`".

    Parameters
    ----------
    b, c, n : int or integer array
        Regressions, improvements and paired items, b + c <= n.
    margin : float
        Tolerated drop, a proportion, 0 <= margin < 1. At 0 the p-value is that of `mcnemar_exact`.

    Returns
    -------
    MarginTestResult
        `statistic` is Tango's Z at the margin, `pvalue` is max(1 - Phi(Z), exact McNemar p-value).

    Notes
    -----
    The score test alone is anticonservative where the margin allows only a few items: 3 regressions among 100
    items at a margin of one point give Z = 2.01, yet Poisson(1) reaches 3 in 8 % of runs. A drop that is not
    significantly above 0 is not significantly above the margin either, so the exact p-value at 0 is a lower
    bound. It binds only at small counts.

    References
    ----------
    Tango (1998), Statistics in Medicine 17, 891-908.

    Examples
    --------
    >>> from gate.stats import margin_test
    >>> print(f"{margin_test(68, 18, 1000, 0.02).pvalue:.4f} {margin_test(3, 0, 100, 0.01).pvalue:.3f}")
    0.0004 0.125
    """
    counts = _validate.triple(b, c, n)
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"margin: expected a proportion of at least 0 and below 1, found {margin}")
    z = _tango.score_z(*counts, np.asarray(margin))
    p = _binomial.sf(counts[0], counts[0] + counts[1])
    if margin > 0.0:
        p = np.maximum(p, special.ndtr(-z))
    return MarginTestResult(unwrap(z), unwrap(p), margin)
