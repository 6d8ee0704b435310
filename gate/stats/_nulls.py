"""The null distribution of one task: given the sizes of the differences, their signs are fair coins.

Every kind of task is reduced to a finite list of values of the signed sum and their probabilities. The rules
over tasks (pooled, max, Fisher, omnibus) need nothing else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from gate.stats import _binomial
from gate.stats._validate import FloatArray

TIE = 1e-11
"""Statistics closer than this, in standard deviations, are ties, so that rounding cannot shrink a p-value."""

_NEGLIGIBLE = 1e-150
_REACH = 20.0  # half-width of a binomial's window in units of sqrt(m): 40 standard deviations
_SEARCHES = 16  # of the golden-section search for Chernoff's bound
_FREQUENT = 24  # a size that occurs at least this often is drawn as one binomial


@dataclass(frozen=True, eq=False, slots=True)
class Null:
    """The discrete null distribution of a signed sum T.

    values : possible values of T in ascending order, in the task's units (a discordant binary item counts one)
    pmf, log_sf : P[T = value] and ln P[T >= value]
    sigma : standard deviation of T, the square root of the sum of squared differences
    complete : False if values of tiny probability are left out
    coins, unit : if T is `unit` times (heads minus tails) of fair coins, the number of coins; else None
    n_resamples : sign patterns drawn; 0 if the distribution is exact
    sizes, counts : if signs are drawn, sizes[j] of the differences occurs counts[j] times; else None
    """

    values: FloatArray
    pmf: FloatArray
    log_sf: FloatArray
    sigma: float
    complete: bool = True
    coins: int | None = None
    unit: float = 1.0
    n_resamples: int = 0
    sizes: FloatArray | None = None
    counts: NDArray[np.int64] | None = None

    def log_moment(self, theta: float) -> float:
        """Return ln E exp(theta T), exact also where signs are drawn."""
        if self.coins is not None:
            return self.coins * float(_log_cosh(np.array([theta * self.unit]))[0])
        if self.sizes is not None and self.counts is not None:
            return float(np.dot(self.counts, _log_cosh(theta * self.sizes)))
        return float(special.logsumexp(theta * self.values, b=self.pmf))

    def log_bound(self, statistic: float) -> float:
        """Return ln P[T >= statistic] where it is known exactly, or an upper bound of it where signs are drawn."""
        return chernoff([self], statistic) if self.n_resamples else self.log_tail(statistic)

    def log_tail(self, statistic: float) -> float:
        """Return ln P[T >= statistic]; values tied with `statistic` within rounding count."""
        if self.coins is not None:
            heads = np.int64(np.ceil((self.coins + statistic / self.unit) / 2 - 1e-6))
            return float(_binomial.log_sf(heads, np.int64(self.coins)))
        index = self.first_at_least(statistic)
        if index < self.values.size:
            return float(self.log_sf[index])
        if self.complete:
            return -np.inf
        # Beyond the last value kept: Hoeffding's (1963) bound.
        return min(float(self.log_sf[-1]), -0.5 * (statistic / self.sigma) ** 2)

    def first_at_least(self, statistic: float) -> int:
        """Return the index of the first value at or above `statistic`; ties within rounding count."""
        slack = TIE * (self.sigma + abs(statistic))
        return int(np.searchsorted(self.values, statistic - slack, side="left"))

    def is_bound(self, statistic: float) -> bool:
        """Return whether `log_tail` is a bound, because no drawn sum is as large."""
        return self.n_resamples > 0 and self.first_at_least(statistic) >= self.values.size - 1

    @property
    def resolution(self) -> float:
        """Twice the probability of the largest of the drawn values; 0 where the distribution is exact."""
        return 2.0 / (self.n_resamples + 1) if self.n_resamples else 0.0

    @property
    def costs(self) -> FloatArray:
        """-ln p of each value, the terms that Fisher's method sums."""
        return np.maximum(-self.log_sf, 0.0)


def _log_cosh(x: FloatArray) -> FloatArray:
    away = np.abs(x)
    return np.asarray(away + np.log1p(np.exp(-2.0 * away)) - np.log(2.0))


def chernoff(nulls: Sequence[Null], total: float) -> float:
    """Return an upper bound of ln P[sum >= total]: the minimum over theta of ln E exp(theta (sum - total)).

    The bound holds at every theta, so that its minimum needs no precision.
    """
    scale = math.sqrt(sum(null.sigma**2 for null in nulls))
    if total <= 0.0 or scale == 0.0:
        return 0.0

    def bound(log_theta: float) -> float:
        theta = float(np.exp(log_theta)) / scale
        return math.fsum(null.log_moment(theta) for null in nulls) - theta * total

    # in ln theta the bound falls, then rises: a golden-section search from the minimum for a normal variable upwards
    low, high = np.log(total / scale) - 0.7, np.log(total / scale) + 7.0
    ratio = 0.5 * (np.sqrt(5.0) - 1.0)
    points = [high - ratio * (high - low), low + ratio * (high - low)]
    values = [bound(point) for point in points]
    best = min(0.0, *values, bound(np.log(total / scale)))
    for _ in range(_SEARCHES):
        if values[0] < values[1]:
            high, points[1], values[1] = points[1], points[0], values[0]
            points[0] = high - ratio * (high - low)
            values[0] = bound(points[0])
        else:
            low, points[0], values[0] = points[0], points[1], values[1]
            points[1] = low + ratio * (high - low)
            values[1] = bound(points[1])
        best = min(best, *values)
    return best


def _upper_log_sums(log_pmf: FloatArray) -> FloatArray:
    return np.minimum(np.logaddexp.accumulate(log_pmf[::-1])[::-1], 0.0)


def coins(m: int, unit: float = 1.0) -> Null:
    """Return the distribution of `unit` times heads minus tails of m fair coins."""
    reach = int(_REACH * np.sqrt(m)) + 2
    heads = np.arange(max(0, m // 2 - reach), min(m, m // 2 + reach) + 1, dtype=np.int64)
    log_pmf = _binomial.log_pmf(heads, np.full_like(heads, m))
    values = np.asarray(unit * (2.0 * heads - m), dtype=np.float64)
    return Null(values, np.exp(log_pmf), _upper_log_sums(log_pmf), unit * float(np.sqrt(m)), coins=m, unit=unit)


def lattice(weights: NDArray[np.int64], sizes: NDArray[np.int64], step: float) -> Null:
    """Return the exact distribution of a sum of sizes[j] signed differences of size weights[j] * step.

    Direct convolution of positive terms keeps the relative precision of small probabilities. Those below 1e-150
    are left out: their products would underflow, and arithmetic on denormal numbers is very slow.
    """
    pmf, low = np.ones(1), 0
    for weight, size in zip(weights.tolist(), sizes.tolist(), strict=True):
        part = coins(int(size))
        kept = np.flatnonzero(part.pmf > _NEGLIGIBLE)
        pmf = _convolve_strided(pmf, part.pmf[kept[0] : kept[-1] + 1], 2 * weight)
        low += weight * int(part.values[kept[0]])
        kept = np.flatnonzero(pmf > _NEGLIGIBLE)
        pmf, low = pmf[kept[0] : kept[-1] + 1], low + int(kept[0])
    values = step * (low + np.arange(pmf.size, dtype=np.float64))
    able = pmf > 0.0
    sigma = step * float(np.sqrt(np.sum(sizes * weights.astype(np.float64) ** 2)))
    complete = low + pmf.size - 1 == int(np.sum(weights * sizes))
    return Null(values[able], pmf[able], _upper_log_sums(np.log(pmf[able])), sigma, complete)


def _convolve_strided(pmf: FloatArray, part: FloatArray, stride: int) -> FloatArray:
    """Convolve `pmf` with `part`, whose values are `stride` apart."""
    out = np.zeros(pmf.size + stride * (part.size - 1))
    for offset in range(min(stride, pmf.size)):
        column = np.convolve(pmf[offset::stride], part)
        out[offset::stride][: column.size] = column
    return out


def enumerated(sizes: FloatArray) -> Null:
    """Return the exact distribution over all 2**len(sizes) sign patterns."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums - size, sums + size])
    return from_sample(sums, float(np.sqrt(np.sum(sizes**2))))


def from_draws(sums: FloatArray, sigma: float, n_resamples: int, sizes: FloatArray, counts: NDArray[np.int64]) -> Null:
    """Return the distribution of the observed sum and the drawn ones, which are equally likely under the null.

    The tail of the largest value is Chernoff's bound where that is smaller than its share, so that p-values have no
    floor. It is a function of the value alone, so the p-values of the drawn values stay valid.
    """
    null = from_sample(sums, sigma)
    log_sf = null.log_sf.copy()
    null = replace(null, n_resamples=n_resamples, sizes=sizes, counts=counts)
    log_sf[-1] = min(float(log_sf[-1]), chernoff([null], float(null.values[-1])))
    return replace(null, log_sf=log_sf)


def from_sample(sums: FloatArray, sigma: float) -> Null:
    """Return the distribution of equally likely values; values within rounding of each other are merged."""
    ordered = np.sort(sums)
    starts = np.flatnonzero(np.diff(ordered, prepend=-np.inf) > TIE * sigma)
    sizes = np.diff(starts, append=ordered.size)
    at_least = ordered.size - starts
    total = np.float64(ordered.size)
    return Null(
        ordered[starts],
        np.asarray(sizes / total, dtype=np.float64),
        np.log(at_least / total, dtype=np.float64),
        sigma,
    )


def common_step(sizes: FloatArray, largest: int = 1000) -> float | None:
    """Return a common divisor of all sizes (within rounding), or None if none is found."""
    smallest = float(sizes.min())
    for divisor in range(1, 61):
        step = smallest / divisor
        multiples = sizes / step
        if multiples.max() > largest:
            return None
        if np.all(np.abs(multiples - np.rint(multiples)) < 1e-7):
            return float(np.mean(sizes / np.rint(multiples)))
    return None


def sampled_sums(sizes: FloatArray, counts: NDArray[np.int64], n_resamples: int, seed: Sequence[int]) -> FloatArray:
    """Draw signed sums with fair independent signs, where sizes[j] occurs counts[j] times.

    Memory is O(items + n_resamples).
    """
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))
    sums = np.zeros(n_resamples)
    frequent = counts >= _FREQUENT
    for size, count in zip(sizes[frequent].tolist(), counts[frequent].tolist(), strict=True):
        sums += size * (2.0 * generator.binomial(count, 0.5, n_resamples) - count)
    rest = np.repeat(sizes[~frequent], counts[~frequent])
    whole = rest.size - rest.size % (_BLOCK * _TABLES)
    for start in range(0, whole, _BLOCK * _TABLES):
        _add_blocks(sums, rest[start : start + _BLOCK * _TABLES].reshape(_TABLES, _BLOCK), generator)
    for start in range(whole, rest.size, _BLOCK):
        block = rest[start : start + _BLOCK]
        _add_blocks(sums, np.pad(block, (0, _BLOCK - block.size))[None, :], generator)
    return sums


_BLOCK = 12
"""Items per table: 2**12 signed sums fit the first-level cache, and one 16-bit random word selects one."""

_TABLES = 32
"""Tables built at a time."""


def _add_blocks(sums: FloatArray, blocks: FloatArray, generator: np.random.Generator) -> None:
    """Add to each draw the randomly signed sum of every block; a block is a row of twelve sizes."""
    tables = np.zeros((blocks.shape[0], 1))
    for size in blocks.T[:, :, None]:
        tables = np.concatenate([tables - size, tables + size], axis=1)
    drawn = np.empty_like(sums)
    for table in tables:
        raw: NDArray[np.uint64] = generator.bit_generator.random_raw((sums.size + 3) // 4)
        words = raw.view(np.uint16)[: sums.size] & np.uint16(tables.shape[1] - 1)
        np.take(table, words, out=drawn, mode="clip")
        sums += drawn
