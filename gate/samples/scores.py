"""The scores of paired items: finite, on one scale, and as proportions where the scale is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gate.errors import SampleError

FloatArray = npt.NDArray[np.float64]
Range = tuple[float, float]
"""Lowest and highest possible score of a task."""
Unit = Literal["proportion", "score"]
"""proportion: scores lie in [0, 1], so that differences are shares. score: the task's own unit, of unknown range."""

_LARGEST = 1e100  # sums and squares of larger scores would overflow
_OF_OTHER_SCALE = 0.9  # share of one side's non-zero scores above 1 from which the scales count as different


def paired_scores(
    task: str, baseline: pa.Table, candidate: pa.Table, scale: Range | None = None
) -> tuple[FloatArray, FloatArray, Unit]:
    """Return the scores of both sides and their unit.

    Parameters
    ----------
    scale : (low, high), optional
        The range of the task's scores. They are then converted to shares of it: (score - low) / (high - low).

    Raises
    ------
    SampleError
        A score is NaN, infinite or beyond 1e100, lies outside of the declared range, or the two sides have different
        scales.
    """
    scores = [table.column("score").to_numpy().astype(np.float64) for table in (baseline, candidate)]
    items = baseline.column("item_id")
    for side, values in zip(("baseline", "candidate"), scores, strict=True):
        wrong = ~(np.abs(values) <= _LARGEST)
        _refuse(task, side, items, values, wrong, f"a finite number up to {_LARGEST:g}", "Evaluate these items again.")
    _refuse_mixed_scales(task, scores, scale)
    if scale is not None:
        low, high = scale
        for side, values in zip(("baseline", "candidate"), scores, strict=True):
            slack = 1e-9 * (high - low)
            wrong = (values < low - slack) | (values > high + slack)
            expected = f"a score from {low:g} to {high:g}, the task's `scale`"
            _refuse(task, side, items, values, wrong, expected, "Correct `scale` in gate.yml, or the scores.")
        scores = [np.clip((values - low) / (high - low), 0.0, 1.0) for values in scores]
    within = all(values.min() >= 0.0 and values.max() <= 1.0 for values in scores)
    return scores[0], scores[1], "proportion" if within else "score"


def _refuse_mixed_scales(task: str, scores: Sequence[FloatArray], scale: Range | None) -> None:
    """Raise where one side is on a scale from 0 to 1 and the other one is not, as for exact match in percent.

    Graded scores of a declared scale can all be small, so only right and wrong as 1 and 0 beside a scale to 100 or
    more are refused there.
    """
    for small, large in (scores, scores[::-1]):
        if small.min() < 0.0 or not 0.0 < small.max() <= 1.0 or large.min() < 0.0 or large.max() <= 1.0:
            continue
        if scale is not None and (scale[0] < 0.0 or scale[1] < 100.0 or not np.isin(small, (0.0, 1.0)).all()):
            continue
        above = large[large != 0.0] > 1.0
        if above.mean() < _OF_OTHER_SCALE:
            continue
        ranges = [f"{side} {v.min():g}..{v.max():g}" for side, v in zip(("baseline", "candidate"), scores, strict=True)]
        raise SampleError(
            f"task {task}: the scales differ ({', '.join(ranges)}).",
            "Write both sides on one scale, e.g. divide percentages by 100. If the scores are right, declare the range "
            "of both as the task's `scale: [low, high]` in gate.yml.",
        )


def refuse_infinite_divergences(task: str, candidate: pa.Table) -> None:
    """Raise a SampleError if the KL divergence of an item is NaN or infinite: no mean or limit would be meaningful."""
    column = candidate.column("kl")
    if column.null_count < len(column):
        values = column.to_numpy().astype(np.float64)  # null becomes NaN
        wrong = ~np.isfinite(values) & column.is_valid().to_numpy()
        hint = "Evaluate these items again; if it persists, set distance.kl: false."
        _refuse(task, "candidate", candidate.column("item_id"), values, wrong, "a finite KL divergence", hint)


def _refuse(
    task: str,
    side: str,
    items: pa.ChunkedArray,
    values: FloatArray,
    wrong: npt.NDArray[np.bool_],
    expected: str,
    hint: str,
) -> None:
    if not wrong.any():
        return
    index = int(np.flatnonzero(wrong)[0])
    raise SampleError(
        f"task {task}: item {items[index].as_py()[:60]} has {values[index]:g} in the {side}; expected {expected} "
        f"({np.count_nonzero(wrong)} of {len(values)} items).",
        hint,
    )
