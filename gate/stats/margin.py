"""Exact tests of a paired drop against a margin, in both directions."""

from collections.abc import Callable
from typing import overload

import numpy as np

from gate.stats import _pooling, _tango, _unconditional, _validate
from gate.stats._validate import Counts, FloatArray, IntArray
from gate.stats.results import MarginTestResult, unwrap


@overload
def noninferiority(b: int, c: int, n: int, margin: float) -> MarginTestResult[float]: ...
@overload
def noninferiority(b: Counts, c: Counts, n: int | Counts, margin: float) -> MarginTestResult[FloatArray]: ...
def noninferiority(
    b: int | Counts, c: int | Counts, n: int | Counts, margin: float
) -> MarginTestResult[float] | MarginTestResult[FloatArray]:
    """Exact unconditional test of H0 "the drop is at least `margin`".

    Parameters
    ----------
    b, c, n : int or integer array
        Regressions, improvements and paired items, b + c <= n.
    margin : float
        The drop to rule out, a proportion, 0 < margin < 1.

    Returns
    -------
    MarginTestResult
        `statistic` is Tango's Z at the margin; `pvalue` is the probability of a Z as small, see `margin_test`.

    Notes
    -----
    Rejecting at p <= alpha certifies with confidence 1 - alpha that the drop is below the margin. Inverted, the test
    gives the upper bound of `drop_interval`.

    References
    ----------
    Tango (1998), Statistics in Medicine 17, 891-908. Berger, Boos (1994), JASA 89, 1012-1016.

    Examples
    --------
    >>> from gate.stats import noninferiority
    >>> f"{noninferiority(10, 14, 300, margin=0.02).pvalue:.4f}"
    '0.0251'
    """
    counts = _validate.triple(b, c, n)
    _validate.open_unit("margin", margin)
    return _test(counts, margin, lambda b, c, n: _unconditional.pvalue(c, b, n, -margin))


@overload
def margin_test(b: int, c: int, n: int, margin: float) -> MarginTestResult[float]: ...
@overload
def margin_test(b: Counts, c: Counts, n: int | Counts, margin: float) -> MarginTestResult[FloatArray]: ...
def margin_test(
    b: int | Counts, c: int | Counts, n: int | Counts, margin: float
) -> MarginTestResult[float] | MarginTestResult[FloatArray]:
    """Exact unconditional test of H0 "the drop is at most `margin`".

    Parameters
    ----------
    b, c, n : int or integer array
        Regressions, improvements and paired items, b + c <= n.
    margin : float
        Tolerated drop, a proportion, 0 <= margin < 1. At 0 the p-value is that of `mcnemar_exact`.

    Returns
    -------
    MarginTestResult
        `statistic` is Tango's Z at the margin; `pvalue` is the probability of a Z as large, see the notes.

    Notes
    -----
    All outcomes (b', c') are ordered by Tango's Z at the margin d. At a drop of d, the improvement rate q remains
    unknown. With C the Clopper-Pearson interval of q of level 1 - beta (Berger and Boos),

        p = sup over q in C of P[Z(b', c') >= Z(b, c); drop = d, rate q] + beta.

    It is exact for independent items: the size never exceeds the level, at any n. beta is .0005 at levels of .01 and
    above, and level / 20 below; the p-value is the smallest level at which the test rejects, so that it has no floor.
    It is never below the exact McNemar p-value: a drop that is not significantly above 0 is not significantly above
    the margin either. Below .01 the p-value is rounded up by at most .1 % (more below 1e-50). The supremum is found
    by a grid and a local search; Tango's score alone is anticonservative where the margin allows only a few items.

    References
    ----------
    Tango (1998), Statistics in Medicine 17, 891-908. Berger, Boos (1994), JASA 89, 1012-1016.

    Examples
    --------
    >>> from gate.stats import margin_test
    >>> print(f"{margin_test(68, 18, 1000, 0.02).pvalue:.4f} {margin_test(3, 0, 100, 0.01).pvalue:.4f}")
    0.0007 0.1269
    """
    counts = _validate.triple(b, c, n)
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"margin: expected a proportion of at least 0 and below 1, found {margin}")
    return _test(counts, margin, lambda b, c, n: _unconditional.margin_pvalue(b, c, n, margin))


def pooled_noninferiority(b: Counts, c: Counts, n: Counts, margin: float) -> MarginTestResult[float]:
    """Exact test of H0 "the mean drop over the items of all tasks is at least `margin`".

    Parameters
    ----------
    b, c, n : integer array, shape (tasks,)
        Regressions, improvements and paired items of each task; at least one task.
    margin : float
        The mean drop to rule out, a proportion, 0 < margin < 1.

    Returns
    -------
    MarginTestResult
        `noninferiority` on the summed counts.

    Notes
    -----
    The test on the sums assumes one improvement rate. It keeps its level if the rates of the tasks differ, except where
    a task flips on most of its items. With several tasks, of which one may improve on 30 % of its items or more (the
    Clopper-Pearson bound of level 1e-9, so also with fewer than 60 items), one more regression is counted.

    References
    ----------
    Hoeffding (1956), Annals of Mathematical Statistics 27, 713-721 (sums of independent events of different
    probabilities).

    Examples
    --------
    >>> from gate.stats import pooled_noninferiority
    >>> f"{pooled_noninferiority([4, 6], [8, 6], [150, 150], margin=0.02).pvalue:.4f}"
    '0.0251'
    """
    regressions, improvements, items = (np.atleast_1d(column) for column in _validate.triple(b, c, n))
    _validate.open_unit("margin", margin)
    z = _tango.score_z(regressions.sum(), improvements.sum(), items.sum(), np.asarray(margin))
    return MarginTestResult(float(z), _pooling.better_pvalue(regressions, improvements, items, margin), margin)


@overload
def margin_critical(c: int, n: int, margin: float, alpha: float = 0.05) -> int: ...
@overload
def margin_critical(c: Counts, n: int | Counts, margin: float, alpha: float = 0.05) -> IntArray: ...
def margin_critical(c: int | Counts, n: int | Counts, margin: float, alpha: float = 0.05) -> int | IntArray:
    """Return the critical number of regressions of `margin_test`, given the improvements.

    Parameters
    ----------
    c, n : int or integer array
        Improvements and paired items, c <= n.
    margin : float
        Tolerated drop, a proportion, 0 <= margin < 1.
    alpha : float, default 0.05
        Level of the test.

    Returns
    -------
    int or ndarray of int
        The smallest b with p <= alpha; n - c + 1 where even b = n - c does not reach it.

    Notes
    -----
    The power at rates p_b and p_c is the sum over c of P[Bin(n, p_c) = c] P[Bin(n - c, p_b / (1 - p_c)) >= b(c)].

    Examples
    --------
    >>> from gate.stats import margin_critical, margin_test
    >>> margin_critical(10, 1000, 0.01)
    31
    >>> margin_test(30, 10, 1000, 0.01).pvalue > 0.05 >= margin_test(31, 10, 1000, 0.01).pvalue
    True
    """
    _, improvements, total = _validate.triple(np.zeros_like(np.asarray(c)), c, n)
    _validate.open_unit("alpha", alpha)
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"margin: expected a proportion of at least 0 and below 1, found {margin}")
    values = [
        _unconditional.critical_count(count, items, margin, alpha)
        for count, items in zip(improvements.ravel().tolist(), total.ravel().tolist(), strict=True)
    ]
    return unwrap(np.array(values, dtype=np.int64).reshape(improvements.shape))  # type: ignore[no-any-return]


def _test(
    counts: tuple[IntArray, IntArray, IntArray], margin: float, pvalue: Callable[[int, int, int], float]
) -> MarginTestResult[float] | MarginTestResult[FloatArray]:
    z = _tango.score_z(*counts, np.asarray(margin))
    columns = (column.ravel().tolist() for column in counts)
    p = np.array([pvalue(*row) for row in zip(*columns, strict=True)]).reshape(counts[0].shape)
    return MarginTestResult(unwrap(z), unwrap(p), margin)
