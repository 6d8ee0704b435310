"""The sign-flip test of one task, for scores of any kind."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gate.stats._validate import FloatArray, at_least
from gate.stats.evidence import Evidence


def sign_flip(
    differences: Sequence[float] | FloatArray,
    clusters: Sequence[str] | Sequence[int] | NDArray[np.int64] | NDArray[np.str_] | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> float:
    """One-sided sign-flip permutation test of a degradation.

    Parameters
    ----------
    differences : array of float, shape (items,)
        Baseline score minus candidate score of each item, in any unit: positive where the candidate is worse.
        Repeats are averaged per item first.
    clusters : array of int or str, shape (items,), optional
        Cluster of each item (several questions on one passage): the signs of whole clusters are flipped.
    draws : int, default 10,000
        Sign patterns drawn where the null distribution cannot be had exactly.
    seed : int, default 0
        Seed of the draws; the order of the items does not matter.

    Returns
    -------
    float
        (1 + #{T* >= T}) / (draws + 1) with T the sum of the differences, or the exact P[T* >= T].

    Raises
    ------
    ValueError
        Where a difference is not finite, the lengths differ, or `draws` is below 1.

    Notes
    -----
    Under the null hypothesis each difference (or cluster sum) is as likely positive as negative, given its
    size. The null distribution is exact, without draws, where all sizes are equal (then this is
    `mcnemar_exact`), where they are multiples of a common step (means over repeats, partial credit), and up
    to 16 non-zero units (all sign patterns). Otherwise signs are drawn: binomial counts for sizes that occur
    often, and for the rest one random 12-bit number per twelve items, looked up in a table of their 4096
    signed sums. Memory O(items + draws). The p-value is valid for any number of draws, since the observed
    signs count as one of them.

    References
    ----------
    Fisher (1935), The Design of Experiments, ch. 3. Phipson, Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9:39
    (the +1).

    Examples
    --------
    >>> from gate.stats import mcnemar_exact, sign_flip
    >>> abs(sign_flip([1.0] * 68 + [-1.0] * 18 + [0.0] * 914) / mcnemar_exact(68, 18) - 1) < 1e-9
    True
    >>> sign_flip([0.5, 0.25, 0.75, -0.25])
    0.1875
    """
    at_least("draws", draws, 1)
    return Evidence.from_differences(differences, clusters, draws, seed).p_value
