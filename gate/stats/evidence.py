"""What one task says about a degradation: its discordant differences and their null distribution."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gate.stats import _nulls, _validate
from gate.stats._nulls import Null
from gate.stats._validate import FloatArray
from gate.stats.intervals import score_parts

_ENUMERATED_ITEMS = 16
_FEW_SIZES = 60
_DIRECT_WORK = 5e8
_SAMPLED_WORK = 2e9
_FEWEST_DRAWS, _MOST_DRAWS = 10_000, 100_000


def _step(sizes: FloatArray) -> float | None:
    """The common step of a few distinct sizes, as those of means over repeats have one."""
    return _nulls.common_step(sizes) if 0 < sizes.size < _FEW_SIZES else None


@dataclass(frozen=True, eq=False, slots=True)
class _Units:
    """The independent units of a task that is not binary: signed differences, summed within clusters."""

    differences: FloatArray  # one per unit, in the score's units
    items: FloatArray  # number of items in each unit
    draws: int | None
    seed: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence of one task. Made by `from_counts` or `from_differences`, read by `joint_test`.

    Attributes
    ----------
    n : int or None
        Paired items; None where only discordant counts were given.
    statistic : float
        Sum of the differences, regressions counting positive. In discordant items: scores that are not binary
        are divided by the root mean square of their non-zero differences, so that tasks of any unit can be
        pooled.
    discordant : int
        Independent units (items or clusters) whose difference is not zero.

    Notes
    -----
    The null hypothesis of every task is the same: given the sizes of the differences, their signs are
    independent fair coins. It holds where the two models answer alike up to exchangeable noise.

    Examples
    --------
    >>> from gate.stats import Evidence
    >>> round(Evidence.from_counts(68, 18).p_value * 1e8, 3)
    2.647
    >>> round(Evidence.from_differences([1.0, 1.0, 1.0, 0.0]).p_value, 6)
    0.125
    """

    n: int | None
    statistic: float
    discordant: int
    _units: _Units | None = field(repr=False)
    _scale: float = field(repr=False)

    @classmethod
    def from_counts(cls, b: int, c: int, n: int | None = None) -> "Evidence":
        """Evidence of a task scored right or wrong.

        Parameters
        ----------
        b, c : int
            Regressions and improvements.
        n : int, optional
            Paired items; needed only where a margin is tested.

        Returns
        -------
        Evidence

        Raises
        ------
        ValueError
            Where a count is negative or not a whole number, or b + c > n.
        """
        total = b + c if n is None else n
        regressions, improvements, _ = (int(x) for x in _validate.triple(b, c, max(total, 1)))
        return cls(n, float(regressions - improvements), regressions + improvements, None, 1.0)

    @classmethod
    def from_differences(
        cls,
        differences: Sequence[float] | FloatArray,
        clusters: Sequence[str] | Sequence[int] | NDArray[np.int64] | NDArray[np.str_] | None = None,
        draws: int | None = None,
        seed: int = 0,
    ) -> "Evidence":
        """Evidence of a task with scores of any kind, means over repeats, or clustered items.

        Parameters
        ----------
        differences : array of float, shape (items,)
            Baseline score minus candidate score of each item: positive where the candidate is worse.
        clusters : array of int or str, shape (items,), optional
            Cluster of each item; signs flip for whole clusters. Without it every item stands alone.
        draws : int, optional
            Sign patterns sampled where the null distribution cannot be had exactly; by default 10,000 to
            100,000, fewer for more distinct differences.
        seed : int, default 0
            Seed of those draws.

        Returns
        -------
        Evidence

        Raises
        ------
        ValueError
            Where a difference is not finite or the lengths differ.
        """
        values = np.asarray(differences, dtype=np.float64)
        if values.ndim != 1:
            raise ValueError(
                f"differences: expected one number per item, found an array of shape {values.shape}"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"differences: expected finite numbers, found {values[~np.isfinite(values)][0]}")
        if draws is not None:
            _validate.at_least("draws", draws, 1)
        apart = values[values != 0.0]
        scale = float(np.sqrt(np.mean(apart * apart))) if apart.size else 1.0
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
        moved = values[values != 0.0]
        step = _step(np.unique(np.abs(moved)))
        total = math.fsum(moved) if step is None else step * float(np.rint(moved / step).sum())
        units = _Units(values, items, draws, seed)
        n = int(items.sum())
        return cls(n, total / scale, int(moved.size), units, scale)

    @cached_property
    def null(self) -> Null:
        """Null distribution of `statistic`: exact where it can be had, else of drawn sign patterns."""
        if self._units is None or self.discordant == 0:
            return _nulls.coins(self.discordant)
        differences = self._units.differences
        sizes, counts = np.unique(np.abs(differences[differences != 0.0]) / self._scale, return_counts=True)
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
        draws = units.draws
        if draws is None:
            # A size that occurs often costs one binomial per draw, however often it occurs.
            work = min(self.discordant, 100 * sizes.size)
            draws = int(min(max(_SAMPLED_WORK / work, _FEWEST_DRAWS), _MOST_DRAWS))
        # Tasks share the user's seed, yet must not share their signs.
        stream = [units.seed, zlib.crc32(sizes.tobytes()), zlib.crc32(counts.tobytes())]
        sums = _nulls.sampled_sums(sizes, counts, draws, stream)
        sigma = math.sqrt(float(np.sum(counts * sizes**2)))
        # The observed signs are one more draw under the null: all draws + 1 sums are equally likely.
        return _nulls.from_sample(np.append(sums, self.statistic), sigma)

    @property
    def log_p(self) -> float:
        """Natural logarithm of the one-sided p-value."""
        return min(0.0, self.null.log_tail(self.statistic))

    @property
    def p_value(self) -> float:
        """One-sided p-value of a degradation."""
        return math.exp(self.log_p)

    @property
    def drop(self) -> float:
        """Mean drop per item in the score's own units; nan where the number of items is unknown."""
        return self.statistic * self._scale / self.n if self.n else math.nan

    @property
    def standardised(self) -> float:
        """The statistic over its null standard deviation; for a binary task (b - c) / sqrt(b + c)."""
        return self.statistic / self.null.sigma if self.discordant else -math.inf

    def margin_score(self, margin: float) -> tuple[float, float]:
        """Sum of (difference - margin) and its variance at the margin, in discordant items.

        Parameters
        ----------
        margin : float
            Tolerated drop in the score's own units.

        Returns
        -------
        (float, float)
            For a binary task the parts of Tango's score; otherwise the sums of D - w margin
            and of its square over units of w items.

        Raises
        ------
        ValueError
            Where the number of items is unknown.
        """
        if self.n is None:
            raise ValueError("n: expected the number of paired items where a margin is tested, found None")
        if self.n == 0:
            return 0.0, 0.0
        if self._units is None:
            b, c = self.counts
            distance, variance = score_parts(
                np.array(b), np.array(c), np.array(self.n), np.array(margin, dtype=np.float64)
            )
            return float(distance), float(variance)
        away = self._units.differences - margin * self._units.items
        return float(away.sum()) / self._scale, float(np.dot(away, away)) / self._scale**2

    @property
    def counts(self) -> tuple[int, int]:
        """Regressions and improvements of a binary task."""
        b = (self.discordant + round(self.statistic)) // 2
        return b, self.discordant - b

    @property
    def is_binary(self) -> bool:
        """Whether the evidence was made from counts."""
        return self._units is None
