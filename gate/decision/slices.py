"""Slices: parts of a task by a field of its documents, each tested alone; advisory, with one correction over all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gate.decision.rows import evidence_of, part_of
from gate.decision.slice_result import SliceResult
from gate.samples import PairedTask
from gate.stats import holm

SliceValues = Mapping[str, Mapping[str, Mapping[str, object]]]
"""By task, name of the slice (a field of the documents) and item id: the field's value."""

MOST_VALUES = 20
"""Slices of a field with text; items with other values form one more slice, `(other)`."""

_MISSING, _OTHER = "(none)", "(other)"
_QUANTILES = (0.25, 0.5, 0.75)


def slice_results(pairs: Sequence[PairedTask], values: SliceValues, seed: int = 0) -> list[SliceResult]:
    """Test every slice of every task for a drop; the worst slice first.

    Parameters
    ----------
    pairs : sequence of PairedTask
        With the clusters that the decision uses.
    values : SliceValues
        Items without a value form the slice `(none)`.

    Notes
    -----
    Each slice has the test of its task at margin 0 (exact McNemar, or sign-flips). Slices of different fields share
    items; Holm's adjustment is valid under any dependence (Holm 1979). Order: adjusted p-value, p-value, then drop.
    """
    parts: list[tuple[PairedTask, str, str]] = []
    for pair in pairs:
        for name, by_item in values.get(pair.task, {}).items():
            column = [by_item.get(item) for item in pair.baseline.column("item_id").to_pylist()]
            for value, rows in cut(column).items():
                parts.append((part_of(pair, pair.task, rows), name, value))
    if not parts:
        return []
    p_values = [evidence_of(part, seed).pvalue for part, _, _ in parts]
    results = [
        SliceResult(
            task=part.task,
            name=name,
            value=value,
            n=part.n,
            baseline=float(part.baseline_score.mean()),
            candidate=float(part.candidate_score.mean()),
            drop=float((part.baseline_score - part.candidate_score).mean()),
            regressions=part.regressions,
            improvements=part.improvements,
            p=p,
            p_holm=float(adjusted),
        )
        for (part, name, value), p, adjusted in zip(parts, p_values, holm(p_values), strict=True)
    ]
    return sorted(results, key=lambda result: (result.p_holm, result.p, -result.drop))


def cut(values: Sequence[object]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the rows of each slice of a field, by the slice's label.

    Numbers (also written as text, where all values are numbers) with more than four distinct values are cut at the
    quartiles, each of which is one of the values. Equal values are always in one slice, so that ties can make slices
    unequal, or join them. Other fields have one slice per value, at most `MOST_VALUES` and `(other)`.
    """
    missing = np.array([_is_missing(value) for value in values], dtype=np.bool_)
    numbers = _numbers([value for value, absent in zip(values, missing, strict=True) if not absent])
    labels = np.full(len(values), _MISSING, dtype=object)
    if numbers is not None and len(np.unique(numbers)) > len(_QUANTILES) + 1:
        labels[~missing], order = _ranges(numbers)
    else:
        texts = [str(value) for value, absent in zip(values, missing, strict=True) if not absent]
        order = [text for text, _ in Counter(texts).most_common(MOST_VALUES)]
        kept = set(order)
        labels[~missing] = [text if text in kept else _OTHER for text in texts]
    found = {label: np.flatnonzero(labels == label) for label in dict.fromkeys([*order, _OTHER, _MISSING])}
    return {label: rows for label, rows in found.items() if len(rows)}


def _is_missing(value: object) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def _numbers(values: Sequence[object]) -> npt.NDArray[np.float64] | None:
    """Return the values as finite numbers; None if one is not."""
    if not values or any(isinstance(value, bool) for value in values):
        return None
    try:
        numbers = np.array([float(value) for value in values])  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # an integer of 400 digits
        return None
    return numbers if np.isfinite(numbers).all() else None


def _ranges(numbers: npt.NDArray[np.float64]) -> tuple[list[str], list[str]]:
    """Return the label of each number's range, and the labels in order."""
    quartiles = np.quantile(numbers, _QUANTILES, method="inverted_cdf")
    edges = np.unique(quartiles[quartiles < numbers.max()])
    bounds = [-math.inf, *edges.tolist(), math.inf]
    texts = _distinct(bounds)
    names = []
    for (low, low_text), (high, high_text) in pairwise(zip(bounds, texts, strict=True)):
        if low == -math.inf:
            names.append(f"up to {high_text}")
        else:
            names.append(f"above {low_text}" if high == math.inf else f"above {low_text} to {high_text}")
    return [names[index] for index in np.searchsorted(edges, numbers, side="left")], names


def _distinct(bounds: Sequence[float]) -> list[str]:
    """Write distinct numbers with the fewest digits, at least six, that keep them distinct."""
    texts = ([f"{bound:.{digits}g}" for bound in bounds] for digits in range(6, 18))
    return next(own for own in texts if len(set(own)) == len(bounds))
