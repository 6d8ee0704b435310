"""The evidence of one task: its discordant differences and their null distribution."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gate.stats import _nulls, _tango, _validate
from gate.stats._nulls import Null
from gate.stats._score import Score
from gate.stats._validate import RNG, FloatArray
from gate.stats.margin import margin_test

_ENUMERATED_ITEMS = 16
_FEW_SIZES = 60
_DIRECT_WORK = 5e8
_SAMPLED_WORK = 2e9
_MIN_RESAMPLES, _MAX_RESAMPLES = 10_000, 100_000


def _step(sizes: FloatArray) -> float | None:
    """Return the step of which all sizes are multiples, or None if there is none or there are too many sizes."""
    return _nulls.common_step(sizes) if 0 < sizes.size < _FEW_SIZES else None


def _unit(values: FloatArray) -> float:
    """Return the power of two at or below the largest absolute value; 1 where all are zero."""
    largest = float(np.max(np.abs(values), initial=0.0))
    return math.ldexp(1.0, max(math.frexp(largest)[1] - 1, -1000)) if largest > 0.0 else 1.0


@dataclass(frozen=True, eq=False, slots=True)
class _Units:
    """The independent units of a task that is not binary: items, or clusters of items."""

    differences: FloatArray  # summed within each unit, divided by `unit`
    items: FloatArray  # number of items in each unit
    unit: float  # a power of two near the largest difference, so that squares neither overflow nor vanish
    scale: float  # root mean square of the items' differences that are not zero, divided by `unit`
    n_resamples: int | None
    seed: int
    span: float  # largest difference that an item can have, divided by `unit`


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence of one task, created by `from_counts` or `from_differences` and tested by `combine`.

    Attributes
    ----------
    n : int or None
        Paired items; None where only discordant counts were given.
    statistic : float
        Sum of the differences; positive where the candidate is worse. A discordant binary item counts 1. Other
        differences are divided by the root mean square of the non-zero ones, so that tasks with different units
        can be pooled.
    discordant : int
        Independent units (items or clusters) whose difference is not zero.

    Notes
    -----
    The null hypothesis is the same for every task: given the sizes of the differences, their signs are
    independent fair coins. It is true where the two models' scores differ only by exchangeable noise.

    Examples
    --------
    >>> from gate.stats import Evidence
    >>> f"{Evidence.from_counts(68, 18).pvalue:.4g}"
    '2.647e-08'
    >>> round(Evidence.from_differences([1.0, 1.0, 1.0, 0.0]).pvalue, 6)
    0.125
    """

    n: int | None
    statistic: float
    discordant: int
    _units: _Units | None = field(repr=False)
    _scale: float = field(repr=False)

    @classmethod
    def from_counts(cls, b: int, c: int, n: int | None = None) -> "Evidence":
        """Return the evidence of a task whose items are independent and scored right or wrong.

        Parameters
        ----------
        b, c : int
            Regressions and improvements.
        n : int, optional
            Paired items, b + c <= n; needed only to test a margin.
        """
        total = b + c if n is None else n
        counts = _validate.triple(b, c, total, allow_no_items=True)
        regressions, improvements = int(counts[0]), int(counts[1])
        return cls(n, float(regressions - improvements), regressions + improvements, None, 1.0)

    @classmethod
    def from_differences(
        cls,
        differences: Sequence[float] | FloatArray,
        clusters: Sequence[str] | Sequence[int] | NDArray[np.int64] | NDArray[np.str_] | None = None,
        *,
        n_resamples: int | None = None,
        rng: RNG = None,
        span: float | None = None,
    ) -> "Evidence":
        """Return the evidence of a task with scores of any kind, means over repeats, or clustered items.

        Parameters
        ----------
        differences : array of float, shape (items,)
            Baseline score minus candidate score of each item: positive where the candidate is worse.
        clusters : array of int or str, shape (items,), optional
            Cluster of each item; signs flip for whole clusters. By default every item is its own cluster.
        n_resamples : int, optional
            Sign patterns to draw where the null distribution is not computed exactly; by default between
            10,000 and 100,000, fewer where there are more distinct differences.
        rng : int or numpy.random.Generator, optional
            Seed of those draws, or a generator that provides it; by default the seed is random.
        span : float, optional
            Largest size that a difference can have, for tests at a margin: 1 for scores from 0 to 1. By default the
            largest one observed.
        """
        values = np.asarray(differences, dtype=np.float64)
        if values.ndim != 1:
            raise ValueError(f"differences: expected one number per item, found an array of shape {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"differences: expected finite numbers, found {values[~np.isfinite(values)][0]}")
        if n_resamples is not None:
            _validate.at_least("n_resamples", n_resamples, 1)
        unit = _unit(values)
        values = values / unit
        nonzero = values[values != 0.0]
        scale = float(np.sqrt(np.mean(nonzero * nonzero))) if nonzero.size else 1.0
        largest = max(float(np.abs(values).max(initial=0.0)), 0.0 if span is None else span / unit)
        items = np.ones_like(values)
        if clusters is not None:
            groups = np.asarray(clusters)
            if groups.shape != values.shape:
                raise ValueError(
                    f"clusters: expected one per item ({values.size}), found an array of shape {groups.shape}"
                )
            _, inverse = np.unique(groups, return_inverse=True)
            items = np.bincount(inverse).astype(np.float64)
            sums = np.bincount(inverse, weights=values)
            rounding = 1e-12 * np.bincount(inverse, weights=np.abs(values))
            values = np.where(np.abs(sums) <= rounding, 0.0, sums)
        differing = values[values != 0.0]
        step = _step(np.unique(np.abs(differing)))
        total = math.fsum(differing) if step is None else step * float(np.rint(differing / step).sum())
        units = _Units(values, items, unit, scale, n_resamples, _validate.seed(rng), largest)
        return cls(int(items.sum()), total / scale, int(differing.size), units, scale * unit)

    @cached_property
    def null(self) -> Null:
        """Null distribution of `statistic`: exact where feasible, else from random sign patterns."""
        if self._units is None or self.discordant == 0:
            return _nulls.coins(self.discordant)
        differences = self._units.differences
        sizes, counts = np.unique(np.abs(differences[differences != 0.0]) / self._units.scale, return_counts=True)
        if np.ptp(sizes) <= 1e-12 * sizes[-1]:
            return _nulls.coins(self.discordant, 1.0 if abs(sizes[0] - 1.0) < 1e-9 else float(sizes[0]))
        step = _step(sizes)
        if step is not None:
            weights = np.rint(sizes / step).astype(np.int64)
            width = 80.0 * math.sqrt(float(np.sum(counts * weights.astype(np.float64) ** 2)))
            length = min(width, 2.0 * float(np.sum(weights * counts)))
            if length * float(np.sqrt(counts).sum()) < _DIRECT_WORK:
                return _nulls.lattice(weights, counts, step)
        if self.discordant <= _ENUMERATED_ITEMS:
            return _nulls.enumerated(np.repeat(sizes, counts))
        return self._sampled(self._units, sizes, counts)

    def _sampled(self, units: _Units, sizes: FloatArray, counts: NDArray[np.int64]) -> Null:
        n_resamples = units.n_resamples
        if n_resamples is None:
            # A size that occurs often costs one binomial per draw, however often it occurs.
            work = min(self.discordant, 100 * sizes.size)
            n_resamples = int(min(max(_SAMPLED_WORK / work, _MIN_RESAMPLES), _MAX_RESAMPLES))
        # Tasks share the user's seed but must not share their signs.
        stream = [units.seed, zlib.crc32(np.round(sizes, 9).tobytes()), zlib.crc32(counts.tobytes())]
        sums = _nulls.sampled_sums(sizes, counts, n_resamples, stream)
        sigma = math.sqrt(float(np.sum(counts * sizes**2)))
        # Under the null the observed signs are one more draw: all n_resamples + 1 sums are equally likely.
        return _nulls.from_draws(np.append(sums, self.statistic), sigma, n_resamples, sizes, counts)

    @property
    def log_pvalue(self) -> float:
        """Natural logarithm of the p-value."""
        return min(0.0, self.null.log_tail(self.statistic))

    @property
    def pvalue(self) -> float:
        """One-sided p-value of "no degradation"."""
        return math.exp(self.log_pvalue)

    @property
    def p_is_bound(self) -> bool:
        """Whether `pvalue` is an upper bound, because no drawn sign pattern is as extreme as the data."""
        return self.null.is_bound(self.statistic)

    def pvalue_at(self, margin: float) -> float:
        """Return the one-sided p-value of "the drop is at most `margin`", a number in the score's own units.

        It is `pvalue` at margin 0 and that of the exact `margin_test` for a binary task. Otherwise it is that of a
        large-sample score test, bounded below by `pvalue`: with D the summed difference of a unit of w items and
        u = D - w margin, sum(u) / sqrt(sum(u**2)) is referred to Student's t with (sum(u**2))**2 / sum(u**4) degrees
        of freedom. One further unit, of the size of the largest, is counted as the largest possible gain: large gains
        may be too rare to be seen.

        Raises
        ------
        ValueError
            If `margin` is above 0 and the number of items is unknown.
        """
        if margin == 0.0:
            return self.pvalue
        if self.is_binary and self.n is not None:
            b, c = self.counts
            return margin_test(b, c, max(self.n, 1), margin).pvalue
        return max(self.pvalue, self.margin_score(margin).upper_pvalue)

    def smallest_pvalue_at(self, margin: float) -> float:
        """Return the p-value at the margin if every discordant unit were a regression; 2**-discordant at margin 0."""
        if margin == 0.0:
            return 2.0**-self.discordant
        if self._units is None:
            return Evidence.from_counts(self.discordant, 0, self.n).pvalue_at(margin)
        units = replace(self._units, differences=np.abs(self._units.differences))
        worst = replace(self, statistic=float(units.differences.sum()) / self._scale, _units=units)
        return max(2.0**-self.discordant, worst.margin_score(margin).upper_pvalue)

    @property
    def scale(self) -> float:
        """Score units in one unit of `statistic`."""
        return self._scale

    @property
    def total(self) -> float:
        """Sum of the differences in the score's own units."""
        return self.statistic * self._scale

    @property
    def drop(self) -> float:
        """Mean drop per item in the score's own units; nan where the number of items is unknown."""
        return self.statistic / self.n * self._scale if self.n else math.nan

    def margin_score(self, margin: float) -> Score:
        """Return the sums of the score test of the drop against a margin (in the score's own units).

        For a binary task, distance and variance are those of Tango's score, without a further unit. Otherwise they
        are sums over units, in the units of `statistic`.

        Raises
        ------
        ValueError
            If the number of items is unknown.
        """
        if self.n is None:
            raise ValueError("n: expected the number of paired items where a margin is tested, found None")
        if self.n == 0:
            return Score(0.0, 0.0, 0.0)
        if self._units is None:
            b, c = self.counts
            distance, variance = _tango.score_parts(
                np.array(b), np.array(c), np.array(self.n), np.array(margin, dtype=np.float64)
            )
            return Score(float(distance), float(variance), float(variance))
        units = self._units
        own = margin / units.unit
        away = (units.differences - own * units.items) / units.scale
        squares = away * away
        conceded = float(units.items.max()) * (units.span + own) / units.scale
        return Score(float(away.sum()), float(squares.sum()), float(np.dot(squares, squares)), conceded)

    @property
    def span(self) -> float:
        """Largest size that an item's difference can have, in the score's own units."""
        return 1.0 if self._units is None else self._units.span * self._units.unit

    @property
    def unit_sums(self) -> tuple[FloatArray, FloatArray]:
        """Summed differences of the independent units, in units of `span`, and the number of items of each unit."""
        if self._units is None:
            raise ValueError("evidence: expected that of differences, found counts")
        return self._units.differences / (self._units.span or 1.0), self._units.items

    @property
    def counts(self) -> tuple[int, int]:
        """Regressions and improvements of a binary task."""
        b = (self.discordant + round(self.statistic)) // 2
        return b, self.discordant - b

    @property
    def is_binary(self) -> bool:
        """Whether the evidence was created from counts."""
        return self._units is None
