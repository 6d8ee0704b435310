"""Signed sums of several columns of differences, with one random sign per unit that all columns share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.stats import _nulls
from gate.stats._validate import FloatArray

IntArray = NDArray[np.int64]

_FREQUENT = 24  # a pattern that occurs at least this often is drawn as one binomial
_BLOCK = 12  # units per table: 16 random bits select one of its 2**12 signed sums
_MOST_DISTINCT = 1 << 22


@dataclass(frozen=True, eq=False, slots=True)
class Patterns:
    """The differences of independent units in several columns, grouped by their size.

    Units with equal differences, up to the sign of the whole row, are drawn together: the sum of m fair signs is
    2 Bin(m, 1/2) - m. With J binary candidates there are at most (3**J - 1) / 2 such patterns.

    Attributes
    ----------
    observed : ndarray of float, shape (columns,)
        Sums of the differences.
    frequent, counts : ndarray of float, shape (patterns, columns); ndarray of int, shape (patterns,)
        Patterns of many units.
    rest : ndarray of float, shape (units, columns)
        The other units.
    """

    observed: FloatArray
    frequent: FloatArray
    counts: IntArray
    rest: FloatArray

    @classmethod
    def of(cls, differences: FloatArray) -> "Patterns":
        """Group the rows of an array of shape (units, columns)."""
        kept = differences[(differences != 0.0).any(axis=1)]
        if not kept.shape[0]:
            return cls(np.zeros(kept.shape[1]), kept, np.zeros(0, np.int64), kept)
        first = kept[np.arange(kept.shape[0]), (kept != 0.0).argmax(axis=1)]
        patterns, counts = np.unique(kept * np.sign(first)[:, None], axis=0, return_counts=True)
        frequent = counts >= _FREQUENT
        rest = np.repeat(patterns[~frequent], counts[~frequent], axis=0)
        return cls(kept.sum(axis=0), patterns[frequent], counts[frequent], rest)

    @property
    def cost(self) -> float:
        """Rough time of one draw in nanoseconds."""
        columns = self.observed.size
        return float(60 * columns + 60 * self.counts.size + (20 + 2 * columns) * self.rest.shape[0] / _BLOCK)

    def draw(self, n_resamples: int, generator: np.random.Generator) -> FloatArray:
        """Draw sum_i s_i D_ij for all columns j, with fair signs s_i that the columns share.

        Returns
        -------
        ndarray of float, shape (n_resamples + 1, columns)
            Row 0 holds the observed sums. Given the sizes of the differences, all rows are equally likely if the rows
            of differences are symmetric about zero.
        """
        sums = np.zeros((n_resamples + 1, self.observed.size))
        sums[0] = self.observed
        for pattern, count in zip(self.frequent, self.counts.tolist(), strict=True):
            signs = 2.0 * generator.binomial(count, 0.5, n_resamples) - count
            for column in np.flatnonzero(pattern):
                sums[1:, column] += pattern[column] * signs
        for start in range(0, self.rest.shape[0], _BLOCK):
            table = np.zeros((1, self.observed.size))
            for row in self.rest[start : start + _BLOCK]:
                table = np.concatenate([table - row, table + row])
            raw: NDArray[np.uint64] = generator.bit_generator.random_raw((n_resamples + 3) // 4)
            words = raw.view(np.uint16)[:n_resamples] & np.uint16(table.shape[0] - 1)
            sums[1:] += np.take(table, words, axis=0, mode="clip")
        return sums


def at_least(values: FloatArray) -> IntArray:
    """Return, for each value, how many values are at least as large; values within rounding of each other are ties."""
    if not np.isfinite(values).all():
        return np.full(values.size, values.size, dtype=np.int64)
    low, high = float(values.min()), float(values.max())
    if high - low < _MOST_DISTINCT and bool((values == np.rint(values)).all()):
        index = (values - low).astype(np.int64)
        counts = np.bincount(index)
        above: IntArray = np.cumsum(counts[::-1])[::-1]
        return above[index]
    slack = _nulls.TIE * (1.0 + np.abs(values) + float(values.std()))
    return np.asarray(values.size - np.searchsorted(np.sort(values), values - slack, side="left"), dtype=np.int64)
