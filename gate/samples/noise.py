"""The distance between the distributions of two runs of one model."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gate.samples.along import item_means
from gate.samples.pairing import PairedTask
from gate.samples.scores import FloatArray

_COLUMNS = ("top_tokens", "top_logprobs")
_SMALLEST = 1e-7  # float32 leaves about this much of a tail that is really empty


def divergences(pair: PairedTask) -> FloatArray | None:
    """Return the KL divergence (nats) of each measured item's answer between two runs; None if unknown.

    Where the second run measured it from the first, that is the value. Where both store a distribution, it follows from
    the tokens that both list and one bucket for the rest. A coarser partition never increases the divergence (data
    processing inequality), so this is a lower bound.
    """
    if pair.positions is not None:
        return item_means(pair.positions)
    tables = pair.baseline, pair.candidate
    if pair.is_kl_sample:
        both = pc.and_(*(table.column(_COLUMNS[0]).is_valid() for table in tables))
        tables = tuple(table.filter(both) for table in tables)
    if not len(tables[0]) or any(table.column(name).null_count for table in tables for name in _COLUMNS):
        return None
    (tokens_p, log_p), (tokens_q, log_q) = (
        [table.column(name).combine_chunks() for name in _COLUMNS] for table in tables
    )
    size = 1 + max(pc.max(pc.list_flatten(tokens)).as_py() for tokens in (tokens_p, tokens_q))
    listed = np.full(size, np.nan)
    result = np.empty(len(tables[0]))
    for row in range(len(result)):
        ids = _values(tokens_q, row)
        listed[ids] = _values(log_q, row)
        result[row] = _divergence(_values(log_p, row).astype(np.float64), listed[_values(tokens_p, row)])
        listed[ids] = np.nan
    return result


def _values(column: pa.Array, row: int) -> np.ndarray:
    values: np.ndarray = column[row].values.to_numpy(zero_copy_only=False)
    return values


def _divergence(log_p: FloatArray, log_q: FloatArray) -> float:
    """Return the divergence over the tokens where both log-probabilities are known, and one bucket for the rest."""
    both = np.isfinite(log_p) & np.isfinite(log_q)
    p, q = np.exp(log_p[both]), np.exp(log_q[both])
    total = float(np.dot(p, log_p[both] - log_q[both]))
    p_rest, q_rest = max(0.0, 1.0 - float(p.sum())), max(_SMALLEST, 1.0 - float(q.sum()))
    if p_rest > 0:
        total += p_rest * float(np.log(p_rest / q_rest))
    # rounding to float16 can make the divergence of equal distributions slightly negative
    return max(0.0, total)
