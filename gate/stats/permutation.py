"""The sign-flip test of one task, for scores of any kind."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gate.stats._validate import RNG, FloatArray
from gate.stats.evidence import Evidence
from gate.stats.results import SignFlipResult


def sign_flip(
    differences: Sequence[float] | FloatArray,
    clusters: Sequence[str] | Sequence[int] | NDArray[np.int64] | NDArray[np.str_] | None = None,
    *,
    n_resamples: int = 10_000,
    rng: RNG = None,
) -> SignFlipResult:
    """One-sided sign-flip permutation test for a degradation.

    Parameters
    ----------
    differences : array of float, shape (items,)
        Baseline score minus candidate score of each item, in any unit: positive where the candidate is worse.
        Average repeats per item first.
    clusters : array of int or str, shape (items,), optional
        Cluster of each item (for example, several questions on one passage): signs flip for whole clusters.
    n_resamples : int, default 10,000
        Sign patterns to draw where the null distribution is not computed exactly.
    rng : int or numpy.random.Generator, optional
        Seed of the draws, or a generator that provides it; by default the seed is random. The order of the
        items does not affect the result.

    Returns
    -------
    SignFlipResult
        `statistic` is the sum T of the differences, `pvalue` is (1 + #{T* >= T}) / (n_resamples + 1) or the
        exact P[T* >= T].

    Notes
    -----
    Under the null hypothesis each difference (or cluster sum) is as likely positive as negative, given its
    size. The null distribution is exact where all sizes are equal (this is `mcnemar_exact`), where they are
    multiples of a common step (means over repeats, partial credit), and for up to 16 non-zero units (all sign
    patterns). Otherwise signs are drawn: binomial counts for sizes that occur often; for the rest one random
    12-bit number per twelve items, which selects one of their 4096 signed sums. Memory is
    O(items + n_resamples). The p-value is valid for any number of draws, since the observed signs count as one
    of them.

    References
    ----------
    Fisher (1935), The Design of Experiments, ch. 3. Phipson, Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9:39
    (the +1).

    Examples
    --------
    >>> from gate.stats import mcnemar_exact, sign_flip
    >>> result = sign_flip([1.0] * 68 + [-1.0] * 18 + [0.0] * 914)
    >>> abs(result.pvalue / mcnemar_exact(68, 18).pvalue - 1) < 1e-9
    True
    >>> sign_flip([0.5, 0.25, 0.75, -0.25]).pvalue
    0.1875
    """
    evidence = Evidence.from_differences(differences, clusters, n_resamples=n_resamples, rng=rng)
    return SignFlipResult(evidence.total, evidence.pvalue, evidence.null.n_resamples)
