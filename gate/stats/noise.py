"""Flips in excess of the evaluation's noise: three runs tell whether the candidate or the control moved more."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.stats._validate import RNG, FloatArray
from gate.stats.evidence import Evidence


@dataclass(frozen=True, slots=True)
class ExcessFlipsResult:
    """Result of `excess_flips`.

    Attributes
    ----------
    statistic : float
        u - v.
    pvalue : float
        One-sided p-value; small where the candidate differs more often than the control does.
    candidate_alone : int
        u, the number of items on which the two other runs agree and the candidate differs.
    control_alone : int
        v, the number of items on which the two other runs agree and the control differs.
    """

    statistic: float
    pvalue: float
    candidate_alone: int
    control_alone: int


def excess_flips(
    control: Sequence[float] | FloatArray,
    second: Sequence[float] | FloatArray,
    candidate: Sequence[float] | FloatArray,
    clusters: Sequence[str] | Sequence[int] | NDArray[np.int64] | NDArray[np.str_] | None = None,
    *,
    rng: RNG = None,
) -> ExcessFlipsResult:
    """Test whether a candidate's scores differ from a control's by more than the noise of the evaluation.

    Parameters
    ----------
    control : array of float, shape (items,)
        Scores of the baseline on the candidate's stack, A.
    second : array of float, shape (items,)
        Scores of another run of the baseline, A' (or B, from another stack).
    candidate : array of float, shape (items,)
        Scores of the candidate, C.
    clusters : array of int or str, shape (items,), optional
        Cluster of each item; the signs of whole clusters flip.
    rng : int or numpy.random.Generator, optional
        Seed, used only where there are clusters of many different sizes.

    Returns
    -------
    ExcessFlipsResult
        The p-value is P[Bin(u + v, 1/2) >= u] for independent items.

    Raises
    ------
    ValueError
        The arrays have different shapes.

    Notes
    -----
    u = #(A' = A, C differs), v = #(A' = C, A differs). Items where A' differs from both carry no information. If the
    candidate answers as the baseline does, A and C are exchangeable given A', whatever A' is, so that u is
    Bin(u + v, 1/2). The test asks how often answers change, not in which direction.

    Examples
    --------
    >>> from gate.stats import excess_flips
    >>> control, second = [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 1]
    >>> result = excess_flips(control, second, [0, 0, 0, 0, 0, 0])
    >>> result.candidate_alone, result.control_alone, result.pvalue
    (4, 0, 0.0625)
    """
    a, other, c = (np.asarray(scores, dtype=np.float64) for scores in (control, second, candidate))
    if not a.shape == other.shape == c.shape:
        raise ValueError(f"expected one score per item in each run, found shapes {a.shape}, {other.shape}, {c.shape}")
    u, v = (other == a) & (c != a), (other == c) & (c != a)
    if clusters is None:
        evidence = Evidence.from_counts(int(u.sum()), int(v.sum()))
    else:
        evidence = Evidence.from_differences(u.astype(np.float64) - v, clusters, rng=rng)
    return ExcessFlipsResult(float(u.sum() - v.sum()), evidence.pvalue, int(u.sum()), int(v.sum()))
