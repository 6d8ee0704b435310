"""Tasks that share clusters, as where one question occurs in several tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate.stats import _validate
from gate.stats._validate import RNG, FloatArray
from gate.stats.evidence import Evidence


@dataclass(frozen=True, eq=False)
class Links:
    """Tasks whose clusters overlap, created by `link`.

    Attributes
    ----------
    own : tuple of Evidence
        Per task, the evidence of the clusters that no other task shares.
    patterns : float array, shape (patterns, tasks)
        Differences of a shared cluster in each task, in the scores' units.
    counts : int array, shape (patterns,)
        Number of shared clusters with these differences, or with all signs reversed.
    differences : tuple of float array
        Differences of the items of each task.
    clusters : int array, shape (items of all tasks,)
        Cluster of each item.
    """

    own: tuple[Evidence, ...]
    patterns: FloatArray
    counts: NDArray[np.int64]
    differences: tuple[FloatArray, ...]
    clusters: NDArray[np.int64]


def link(differences: Sequence[FloatArray], clusters: Sequence[NDArray[np.int64]], *, rng: RNG = None) -> Links:
    """Return how the clusters of several tasks overlap, for `combine`.

    Parameters
    ----------
    differences : sequence of float array
        Baseline score minus candidate score of each item, one array per task.
    clusters : sequence of int array
        Cluster of each item. Items with equal numbers, in whichever task, share one sign.
    rng : int or numpy.random.Generator, optional
        Seed of the draws for null distributions that are not computed exactly.

    Notes
    -----
    Only clusters with differences in more than one task make tasks dependent. They are grouped by their differences,
    up to the sign, so that many of them cost no more than a few.

    Examples
    --------
    The same ten items in two tasks, nine of them worse: the evidence is that of one task.

    >>> import numpy as np
    >>> from gate.stats import Evidence, combine, link
    >>> differences = [np.array([1.0] * 9 + [-1.0])] * 2
    >>> tasks = [Evidence.from_differences(values) for values in differences]
    >>> links = link(differences, [np.arange(10), np.arange(10)])
    >>> for rule in "pooled", "holm":
    ...     print(f"{combine(tasks, rule, links=links, rng=0).pvalue:.4f} {combine(tasks, rule, rng=0).pvalue:.4f}")
    0.0107 0.0002
    0.0215 0.0215
    """
    seed = _validate.seed(rng)
    joint = np.concatenate(clusters)
    distinct, inverse = np.unique(joint, return_inverse=True)
    parts = np.split(inverse, np.cumsum([len(part) for part in clusters])[:-1])
    sums = np.zeros((len(distinct), len(differences)))
    for task, (values, part) in enumerate(zip(differences, parts, strict=True)):
        total = np.bincount(part, values, len(distinct))
        rounding = 1e-12 * np.bincount(part, np.abs(values), len(distinct))
        sums[:, task] = np.where(np.abs(total) <= rounding, 0.0, total)
    shared = np.count_nonzero(sums, axis=1) > 1
    own = tuple(
        Evidence.from_differences(column[column != 0.0], rng=seed + task) for task, column in enumerate(sums[~shared].T)
    )
    rows = sums[shared]
    # reversing all signs of a cluster leaves its null distribution unchanged
    first = rows[np.arange(len(rows)), np.argmax(rows != 0.0, axis=1)] if len(rows) else np.zeros(0)
    patterns, counts = np.unique(rows * np.sign(first)[:, None], axis=0, return_counts=True)
    return Links(own, patterns, counts.astype(np.int64), tuple(differences), joint)
