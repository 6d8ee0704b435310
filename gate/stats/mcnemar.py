"""McNemar's one-sided test: does the candidate lose more items than it gains?"""

from typing import Literal, overload

import numpy as np

from gate.stats import _binomial, _validate
from gate.stats._validate import Counts, FloatArray
from gate.stats.results import McNemarResult, unwrap


@overload
def mcnemar_exact(b: int, c: int, n: int | None = None) -> McNemarResult[float]: ...
@overload
def mcnemar_exact(b: Counts, c: Counts, n: int | Counts | None = None) -> McNemarResult[FloatArray]: ...
def mcnemar_exact(
    b: int | Counts, c: int | Counts, n: int | Counts | None = None
) -> McNemarResult[float] | McNemarResult[FloatArray]:
    """Exact one-sided McNemar test for a degradation.

    Parameters
    ----------
    b : int or integer array
        Regressions: items that the baseline gets right and the candidate gets wrong.
    c : int or integer array
        Improvements: items that the baseline gets wrong and the candidate gets right.
    n : int or integer array, optional
        Paired items. The test does not use them; the result's `drop_ci` does.

    Returns
    -------
    McNemarResult
        `statistic` is b - c and `pvalue` is P[Bin(b + c, 1/2) >= b]; both are arrays, one value per task,
        where `b` and `c` are arrays.

    Notes
    -----
    Given m = b + c discordant items, b is Bin(m, 1/2) under the null hypothesis of no change. The items on
    which both models agree carry no information. The test is exact (its size never exceeds alpha) for
    independent items; for clustered items use `sign_flip` with `clusters`. The p-value is 1 at m = 0. The tail
    is computed in log space: p = 1e-300 has as many correct digits as p = 0.1.

    References
    ----------
    McNemar (1947), Psychometrika 12, 153-157. Kübler et al. (2026), arXiv:2602.10144 (the one-sided exact
    form).

    Examples
    --------
    >>> from gate.stats import mcnemar_exact
    >>> result = mcnemar_exact(68, 18, n=1000)
    >>> f"{result.pvalue:.4g}"
    '2.647e-08'
    >>> low, high = result.drop_ci()
    >>> print(f"{low:.4f} {high:.4f}")
    0.0350 0.0657
    >>> mcnemar_exact([7, 0], [0, 0]).pvalue.tolist()
    [0.0078125, 1.0]
    """
    return _test("exact", b, c, n)


@overload
def mcnemar_midp(b: int, c: int, n: int | None = None) -> McNemarResult[float]: ...
@overload
def mcnemar_midp(b: Counts, c: Counts, n: int | Counts | None = None) -> McNemarResult[FloatArray]: ...
def mcnemar_midp(
    b: int | Counts, c: int | Counts, n: int | Counts | None = None
) -> McNemarResult[float] | McNemarResult[FloatArray]:
    """One-sided mid-p McNemar test, for reports only: it decides nothing. Parameters as for `mcnemar_exact`.

    Returns
    -------
    McNemarResult
        `pvalue` is P[Bin(b + c, 1/2) > b] + P[Bin(b + c, 1/2) = b] / 2.

    Notes
    -----
    The mid-p test is less conservative than the exact test. Its size is close to nominal on average but can
    exceed alpha. At b + c = 0 the p-value is 1 (no evidence), where the formula would give 1/2.

    References
    ----------
    Fagerland, Lydersen, Laake (2013), BMC Medical Research Methodology 13:91.

    Examples
    --------
    >>> from gate.stats import mcnemar_midp
    >>> round(mcnemar_midp(1, 2).pvalue, 4)
    0.6875
    """
    return _test("mid-p", b, c, n)


def _test(
    method: Literal["exact", "mid-p"], b: int | Counts, c: int | Counts, n: int | Counts | None
) -> McNemarResult[float] | McNemarResult[FloatArray]:
    items = None
    if n is None:
        regressions, improvements = _validate.pair(b, c)
    else:
        regressions, improvements, items = _validate.triple(b, c, n)
    total = regressions + improvements
    if method == "exact":
        p = _binomial.sf(regressions, total)
    else:
        half = 0.5 * np.exp(_binomial.log_pmf(regressions, total))
        p = np.where(total == 0, 1.0, _binomial.sf(regressions + 1, total) + half)
    return McNemarResult(
        statistic=unwrap((regressions - improvements).astype(np.float64)),
        pvalue=unwrap(p),
        method=method,
        regressions=unwrap(regressions),
        improvements=unwrap(improvements),
        n=None if items is None else unwrap(items),
    )
