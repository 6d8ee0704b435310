"""The exact unconditional tests on the summed counts of several tasks, whose rates may differ."""

from gate.stats import _binomial, _unconditional
from gate.stats._validate import IntArray

_LARGEST_RATE = 0.3
_DOUBT = 1e-9


def worse_pvalue(b: IntArray, c: IntArray, n: IntArray, margin: float) -> float:
    """Return the p-value of "no task has dropped by more than `margin`", from the summed counts."""
    regressions, improvements, total = int(b.sum()), int(c.sum()), int(n.sum())
    if _rates_may_differ_much(c, n):
        regressions = max(regressions - 1, 0)
    return _unconditional.margin_pvalue(regressions, improvements, total, margin)


def better_pvalue(b: IntArray, c: IntArray, n: IntArray, margin: float) -> float:
    """Return the p-value of "the mean drop over all items is at least `margin`", from the summed counts."""
    regressions, improvements, total = int(b.sum()), int(c.sum()), int(n.sum())
    if _rates_may_differ_much(c, n):
        regressions = regressions + 1
        improvements = min(improvements, max(total - regressions, 0))
        total = max(total, regressions)
    return _unconditional.pvalue(improvements, regressions, total, -margin)


def _rates_may_differ_much(c: IntArray, n: IntArray) -> bool:
    """Return whether one flip has to be conceded: there are several tasks, and one may improve on 30 % of its items.

    Sums of different rates vary less than those of one rate, so that the test on the sums keeps its level - but not
    where some tasks flip on nearly all of their items and others on none: the size reached .084 at a level of .05 with
    40 items. By the theorem of Hoeffding (1956) the worst mixture has at most three different rates, of which two are
    the smallest and the largest possible. Over all such mixtures the size was at most the level where no improvement
    rate exceeds .3, and with one regression conceded it was at most the level without this condition
    (`benchmarks/results/calibration_margin.md`).
    """
    if c.size < 2:
        return False
    _, highest = _binomial.clopper_pearson_bounds(c, n, _DOUBT)
    return bool((highest > _LARGEST_RATE).any())
