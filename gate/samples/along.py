"""Divergences along answers: those of single positions, and the mean of each item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MeasuredPositions:
    """Every measured position of a task's answers, in the order of the items and positions.

    Attributes
    ----------
    rows : int64 array
        Row of each measured item.
    total : int
        Number of items, of which the measured ones are a random sample.
    item, position : int64 arrays
        Index into `rows`, and number of the answer's tokens before the position.
    kl : float64 array
        KL divergence in nats.
    variance : float64 array or None
        Of each `kl` over the draws of stored tokens; None if any `kl` is a lower bound.
    same_top : bool array
        Whether the most likely token is the baseline's.
    weight : float64 array
        Number of positions of the answer that it stands for: 1 for the first, more where the others were sampled.
    """

    rows: IntArray
    total: int
    item: IntArray
    position: IntArray
    kl: FloatArray
    variance: FloatArray | None
    same_top: npt.NDArray[np.bool_]
    weight: FloatArray


def measured_positions(candidate: pa.Table, stored: npt.NDArray[np.bool_] | None = None) -> MeasuredPositions | None:
    """Return the measured positions of a candidate's rows; None if there are none, or some are missing.

    Parameters
    ----------
    stored : bool array, optional
        Whether the baseline has a distribution of the row: of many generated texts it stores a random sample. Default:
        every row must have a divergence.
    """
    valid = np.asarray(candidate.column("kl").is_valid().to_numpy(zero_copy_only=False))
    if not valid.any() or not (valid if stored is None else valid[stored]).all():
        return None
    measured, total = np.flatnonzero(valid), len(valid)
    if len(measured) < total:
        candidate = candidate.filter(pa.array(valid))
    count = len(measured)
    rows = np.arange(count)
    first = _floats(candidate.column("kl"))
    lengths = _later_lengths(candidate)
    answers = candidate.column("answer_tokens").fill_null(1).to_numpy().astype(np.float64)
    item = np.concatenate([rows, np.repeat(rows, lengths)])
    position = np.concatenate([np.zeros(count, np.int64), _flat(candidate, "later_positions").astype(np.int64)])
    kl = np.concatenate([first, _flat(candidate, "later_kl").astype(np.float64)])
    variances = [_floats(candidate.column("kl_variance")), _flat(candidate, "later_kl_variance").astype(np.float64)]
    variance = np.concatenate(variances)
    same = np.concatenate(
        [
            candidate.column("same_top").fill_null(False).to_numpy(zero_copy_only=False).astype(np.bool_),
            _flat(candidate, "later_same_top").astype(np.bool_),
        ]
    )
    weight = np.concatenate([np.ones(count), np.repeat((answers - 1.0) / np.maximum(lengths, 1), lengths)])
    order = np.lexsort((position, item))
    known = not np.isnan(variance).any()
    return MeasuredPositions(
        measured,
        total,
        item[order],
        position[order],
        kl[order],
        variance[order] if known else None,
        same[order],
        weight[order],
    )


def item_means(positions: MeasuredPositions) -> FloatArray:
    """Return the mean divergence over the positions of each measured item's answer (nats per token)."""
    return np.asarray(
        np.bincount(positions.item, positions.weight * positions.kl) / np.bincount(positions.item, positions.weight)
    )


def same_top_share(positions: MeasuredPositions) -> float:
    """Return the share of the tokens with the same most likely token on both sides."""
    return float(np.average(positions.same_top, weights=positions.weight))


def error_of_mean(positions: MeasuredPositions) -> float | None:
    """Return the standard error (nats) of the mean over all items of the task, given these.

    It comes from the random draws of stored tokens, and from the random positions and items where not all were
    measured: sampling in two stages (Cochran 1977, section 10.4). None if divergences are lower bounds, or if one
    measured item stands for several.
    """
    if positions.variance is None:
        return None
    totals = np.bincount(positions.item, positions.weight)
    own = np.bincount(positions.item, positions.weight**2 * positions.variance)
    later = positions.position > 0
    items, kl = positions.item[later], positions.kl[later]
    counts = np.bincount(items, minlength=len(totals)).astype(np.float64)
    means = np.bincount(items, kl, len(totals)) / np.maximum(counts, 1.0)
    squares = np.bincount(items, (kl - means[items]) ** 2, len(totals)) / np.maximum(counts - 1.0, 1.0)
    others = totals - 1.0
    # of a simple random sample without replacement; `squares` holds the variance of the draws too, which is small
    sampling = others**2 * np.maximum(1.0 - counts / np.maximum(others, 1.0), 0.0) * squares / np.maximum(counts, 1.0)
    count, share = len(totals), len(totals) / positions.total
    variance = share * ((own + sampling) / totals**2).sum() / count**2
    if share < 1.0:
        if count == 1:
            return None
        variance += (1.0 - share) * item_means(positions).var(ddof=1) / count
    return float(np.sqrt(variance))


def weighted_quantiles(values: FloatArray, weights: FloatArray, levels: tuple[float, ...]) -> list[float]:
    """Return the smallest values whose share of the weight is at least each level."""
    order = np.argsort(values)
    shares = np.cumsum(weights[order]) / weights.sum()
    places = np.minimum(np.searchsorted(shares, np.array(levels) - 1e-12), len(values) - 1)
    return [float(value) for value in values[order][places]]


def _floats(column: pa.ChunkedArray) -> FloatArray:
    return np.asarray(column.to_numpy().astype(np.float64))


def _later_lengths(table: pa.Table) -> IntArray:
    lengths = pc.list_value_length(table.column("later_kl")).fill_null(0)
    return np.asarray(lengths.to_numpy().astype(np.int64))


def _flat(table: pa.Table, name: str) -> npt.NDArray[np.generic]:
    """Return the values of a list column, joined, for the rows with later divergences."""
    column = table.column(name).filter(pc.is_valid(table.column("later_kl")))
    values = pc.list_flatten(column)
    return np.asarray(values.to_numpy(zero_copy_only=False))
