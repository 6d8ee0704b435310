"""The exact unconditional test of a paired difference, which allows for every value of the unknown rate.

Two counts x and y out of n pairs have the rates p_x and p_y. The hypothesis is p_x - p_y <= delta, and all outcomes
(x', y') are ordered by Tango's score Z at delta. At p_x - p_y = delta one rate remains unknown: q, the smaller of the
two. Its data give a Clopper-Pearson interval C of level 1 - beta, and

    sup over q in C of P[Z(x', y') >= Z(x, y); delta, q] + beta

is a valid p-value (Berger and Boos 1994). The hypothesis contains smaller differences too; they have smaller
probabilities, because Z rises with x' and falls with y'.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from gate.stats import _binomial, _tango
from gate.stats._validate import FloatArray, IntArray

BETA = 0.0005
"""Part of the level that the interval of the unknown rate uses, at levels of .01 and above."""

SMALLEST = 1e-300
"""The smallest p-value that is reported."""

_FRACTION = 20.0  # below a level of .01, beta is the level / 20
_PRECISION, _LEVELS = 1e-3, 8  # relative precision of p-values below .01, which are rounded up; most levels tried
_TRUNCATION = 1e-7  # probability that is not enumerated, relative to the level; twice that is added to the p-value
_FINE, _WIDE, _MANY_ROWS = 0.12, 0.4, 300  # steps of the first grid of q, in standard deviations
_POINTS, _REFINEMENTS, _AROUND = 80, 3, 7  # most points of that grid; number and size of the grids around the maximum
_TIE = 1e-9
_BOUND_PRECISION = 1e-3  # of the bounds of a drop, in standard errors
_STEPS, _NEWTON, _COARSE, _GUESSES = 60, 4, 14, 3
_EDGE = 1e-12
_LOG_ZERO = -690.0


def beta_at(level: float) -> float:
    """Return the part of a level that the interval of the unknown rate uses.

    It never falls as the level rises, and neither does the rest. So a test that rejects at one level rejects at every
    higher level, and the smallest level of rejection is a valid p-value without a floor.
    """
    return min(BETA, level / _FRACTION)


def pvalue(x: int, y: int, n: int, delta: float) -> float:
    """Return the p-value of "p_x - p_y <= delta", -1 < delta < 1: the smallest level at which the test rejects."""
    region = _Region(x, y, n, delta)
    largest_level = _FRACTION * BETA
    tail = region.supremum(BETA, _TRUNCATION * largest_level)
    if tail + BETA >= largest_level:
        return min(1.0, tail + BETA)
    # The level solves supremum(level / 20) = .95 level. The supremum falls as the level rises, so the solution lies
    # between any level and the one that its supremum gives.
    share = 1.0 - 1.0 / _FRACTION
    normal = max(float(special.ndtr(-region.z)), SMALLEST)
    level, below, above = min(normal, largest_level), SMALLEST, largest_level
    for _ in range(_LEVELS):
        truncation = _TRUNCATION * min(level, normal)
        found = region.supremum(level / _FRACTION, truncation) / share  # too large by less than 3 truncations
        below, above = max(below, min(level, found - 3.0 * truncation)), min(above, max(level, found))
        if above <= below * (1.0 + _PRECISION) or found <= SMALLEST:
            break
        level = found if below <= found <= above else math.sqrt(below * above)
    return max(above, SMALLEST)


def lower_bound(x: int, y: int, n: int, level: float) -> float:
    """Return a lower confidence bound of p_x - p_y: the differences below it are rejected at `level`.

    It is found to a thousandth of a standard error, and rounded down.
    """
    estimate, z = (x - y) / n, -float(special.ndtri(level))
    counts = np.array(x), np.array(y), np.array(n)
    start = float(_tango.lower_bound(*counts, z, _COARSE)) if z > 0.0 else estimate
    if estimate <= -1.0:
        return -1.0
    error = max((estimate - start) / z, _EDGE) if z > 0.0 else 1.0 / math.sqrt(n)
    tolerance = _BOUND_PRECISION * error
    beta = beta_at(level)

    def excess(delta: float) -> float:
        """Return how far the p-value lies above the level, in standard deviations of a normal variable."""
        p = _Region(x, y, n, delta).supremum(beta, _TRUNCATION * level) + beta
        return float(special.ndtri(min(p, 1.0 - 1e-15))) + z

    low, high = -1.0, 1.0  # rejected below, not rejected above
    delta = min(max(start, -1.0 + _EDGE), 1.0 - _EDGE)
    for step in range(_STEPS):
        found = excess(delta)
        low, high = (delta, high) if found <= 0.0 else (low, delta)
        if high - low <= tolerance:
            break
        # Newton's step with the slope of a normal variable, and a little beyond, so that it brackets the bound; the
        # p-value jumps where the order of the outcomes changes, and only bisection finds a bound at a jump
        delta += -found * error + math.copysign(0.5 * tolerance, -found)
        if step >= _NEWTON or not low < delta < high:
            delta = 0.5 * (low + high)
    return low


def margin_pvalue(b: int, c: int, n: int, margin: float) -> float:
    """Return the p-value of "the drop is at most `margin`", 0 <= margin < 1.

    At 0 it is McNemar's exact p-value. Above, it is never smaller than that: a drop that is not significantly above 0
    is not significantly above the margin either.
    """
    at_zero = float(_binomial.sf(np.int64(b), np.int64(b + c)))
    return at_zero if margin == 0.0 else max(at_zero, pvalue(b, c, n, margin))


def interval(b: int, c: int, n: int, level: float, margin: float, upper_only: bool = False) -> tuple[float, float]:
    """Return a lower and an upper bound of the drop, each of one-sided level `level`; -1 for the lower if not wanted.

    The lower bound agrees with `margin_pvalue` at 0 and at `margin`; the upper one with `pvalue` of the reverse at
    `margin`. The bounds stay valid: a test that rejects "at most d" rejects every smaller drop too.
    """
    high = -lower_bound(c, b, n, level)
    if margin > 0.0:
        high = min(high, margin) if pvalue(c, b, n, -margin) <= level else max(high, margin)
    low = -1.0 if upper_only else lower_bound(b, c, n, level)
    for drop in () if upper_only else sorted({0.0, margin}):
        low = max(low, drop) if margin_pvalue(b, c, n, drop) <= level else min(low, drop)
    if high < 0.0 and margin_pvalue(c, b, n, 0.0) > level:
        high = 0.0
    return low, max(low, high)


def intervals(
    b: IntArray, c: IntArray, n: IntArray, level: float, margin: float = 0.0, upper_only: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return `interval` elementwise."""
    rows = zip(b.ravel().tolist(), c.ravel().tolist(), n.ravel().tolist(), strict=True)
    bounds = np.array([interval(*row, level, margin, upper_only) for row in rows]).reshape((*b.shape, 2))
    return bounds[..., 0], bounds[..., 1]


def critical_count(c: int, n: int, margin: float, level: float) -> int:
    """Return the smallest b with `margin_pvalue` <= level; n - c + 1 where there is none. It falls as b rises."""
    low, high = -1, n - c + 1
    z = -float(special.ndtri(level))
    guess = c + n * margin + z * math.sqrt(2.0 * c + n * margin + z * z)
    b, stride = min(max(math.ceil(guess), 0), n - c), 1
    while high - low > 1:
        low, high = (low, b) if margin_pvalue(b, c, n, margin) <= level else (b, high)
        # away from the guess in growing steps, then by bisection
        near = low + stride if high > n - c else high - stride if low < 0 else (low + high) // 2
        b, stride = min(max(near, low + 1), high - 1), 2 * stride
    return high


class _Region:
    """The outcomes at least as extreme as the observed one, at one difference of the rates."""

    def __init__(self, x: int, y: int, n: int, delta: float) -> None:
        self.n, self.delta = n, delta
        self.nuisance = y if delta >= 0.0 else x
        self.shift_x, self.shift_y = max(delta, 0.0), max(-delta, 0.0)
        z = float(_tango.score_z(np.array(x), np.array(y), np.array(n), np.array(delta)))
        self.z = z - _TIE * (1.0 + abs(z))

    def supremum(self, beta: float, truncation: float) -> float:
        """Return the largest probability of the region over the rates in the interval of level 1 - beta."""
        largest = 0.5 * (1.0 - abs(self.delta))
        bounds = _binomial.clopper_pearson_bounds(np.int64(self.nuisance), np.int64(self.n), 0.5 * beta)
        # equal steps of the arc sine are equal fractions of a standard deviation
        low, high = (math.asin(math.sqrt(min(float(bound), largest))) for bound in bounds)
        rows = _Rows(self, np.square(np.sin([low, high])), truncation)
        smooth = rows.y.size > _MANY_ROWS
        spacing = _WIDE if smooth else _FINE
        points = min(max(2, math.ceil((high - low) * 2.0 * math.sqrt(self.n) / spacing)), _POINTS) + 1
        angles = np.linspace(low, high, points)
        values = rows.probability(np.square(np.sin(angles)))
        best = float(values.max())
        for _ in range(1 if smooth else _REFINEMENTS):
            if high - low <= 0.0:
                break
            index = int(np.argmax(values))
            angles = np.linspace(angles[max(index - 1, 0)], angles[min(index + 1, angles.size - 1)], _AROUND)
            values = rows.probability(np.square(np.sin(angles)))
            best = max(best, float(values.max()))
        return min(1.0, best + 2.0 * truncation)

    def critical(self, y: IntArray) -> IntArray:
        """Return the smallest x' in the region for each y'; n - y' + 1 where there is none."""
        low, high = np.full_like(y, -1), self.n - y + 1  # low is outside, high inside or impossible
        n, delta = np.full_like(y, self.n), np.array(self.delta)
        guess = np.full_like(y, max(0, round(self.n * self.delta))) + y
        for _ in range(_GUESSES):  # solves Z = z for x' by iteration
            _, variance = _tango.score_parts(np.clip(guess, 0, high), y, n, delta)
            guess = np.rint(y + n * delta + self.z * np.sqrt(variance)).astype(np.int64)
        tried = [guess + offset for offset in (1, -2)]
        while True:
            middle = np.clip(tried.pop() if tried else (low + high) // 2, low + 1, high - 1)
            inside = (_tango.score_z(middle, y, n, delta) >= self.z) & (middle > low)
            low, high = np.where(inside | (middle <= low), low, middle), np.where(inside, middle, high)
            if not tried and not bool((high - low > 1).any()):
                return high


class _Rows:
    """The region row by row: for each y', the outcomes x' from a critical count on.

    With N = n - y' and r = p_x / (1 - p_y), a row has the probability P[Bin(N, r) >= k]. From one row to the next it
    changes by a few point probabilities, all of one sign, so that the rows are summed up from the last one.
    """

    def __init__(self, region: _Region, rates: FloatArray, truncation: float) -> None:
        self.region, n = region, region.n
        first, last = (n * float(q + region.shift_y) for q in rates)
        width = math.sqrt(-2.0 * math.log(max(truncation, SMALLEST)))
        # Chernoff's bound below the mean, Bernstein's above it
        start = max(0, math.floor(first - width * math.sqrt(first)))
        above = width * width / 6.0 + math.sqrt(width**4 / 36.0 + width * width * last)
        y = np.arange(start, min(n, math.ceil(last + above)) + 1, dtype=np.int64)
        k = region.critical(y)
        kept = k <= n - y  # where no x' is in the region, the row is empty; so are all later ones
        y, k = y[kept], k[kept]
        self.y, self.k, self.left = y, k, n - y
        self.log_count = special.gammaln(n + 1.0) - special.gammaln(y + 1.0) - special.gammaln(self.left + 1.0)
        self.steps = []
        if y.size > 1:
            rise, trials = np.diff(k), self.left[:-1] - 1
            for offset in range(-1, int(rise.max())):
                j = k[:-1] + offset
                used = np.flatnonzero((j >= 0) & (j <= trials) & (offset < rise))
                heads, total = j[used], trials[used]
                log_choose = (
                    special.gammaln(total + 1.0) - special.gammaln(heads + 1.0) - special.gammaln(total - heads + 1.0)
                )
                self.steps.append((used, heads, total - heads, log_choose, offset < 0))

    def probability(self, rates: FloatArray) -> FloatArray:
        """Return the probability of the region for each value of the smaller rate."""
        if self.y.size == 0:
            return np.zeros(rates.size)
        p_x, p_y = (rates + shift for shift in (self.region.shift_x, self.region.shift_y))
        share = np.minimum(p_x / np.maximum(1.0 - p_y, 1e-300), 1.0)[:, None]
        last = np.where(
            self.k[-1] == 0, 1.0, special.betainc(max(self.k[-1], 1), self.left[-1] - self.k[-1] + 1, share)
        )
        log_share, log_rest = _log(share), _log(1.0 - share)
        changes = np.zeros((rates.size, self.y.size))
        changes[:, -1:] = last
        for used, heads, tails, log_choose, is_first in self.steps:
            terms = np.exp(log_choose + heads * log_share + tails * log_rest)
            changes[:, used] += terms * share if is_first else terms
        row = np.cumsum(changes[:, ::-1], axis=1)[:, ::-1]
        weight = np.exp(self.log_count + self.y * _log(p_y)[:, None] + self.left * _log(1.0 - p_y)[:, None])
        return np.asarray(np.einsum("ij,ij->i", weight, row))


def _log(p: FloatArray) -> FloatArray:
    """Return ln p; a large negative number at p = 0, so that 0 ln 0 is 0."""
    return np.log(np.maximum(p, math.exp(_LOG_ZERO)))
