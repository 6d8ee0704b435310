"""The worst flips: answers that were right with confidence and are now wrong with confidence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pydantic import Field

from gate.decision.result import Part
from gate.samples import PairedTask


class Flip(Part):
    """One item that the baseline answered better than the candidate."""

    task: str
    item_id: str
    question: str | None
    expected: str | None
    baseline: str | None = Field(description="The baseline's answer.")
    candidate: str | None = Field(description="The candidate's answer.")
    shift: float | None = Field(
        description="Fall of the right choice's log-likelihood against the best wrong one, in nats."
    )


def worst_flips(pairs: Sequence[PairedTask], count: int = 10) -> list[Flip]:
    """Return up to `count` regressions, those with the largest shift first, tasks in turn where there is no shift.

    Parameters
    ----------
    pairs : sequence of PairedTask
    count : int

    Returns
    -------
    list of Flip
    """
    flips: list[tuple[float, int, int, Flip]] = []
    for order, pair in enumerate(pairs):
        worse = np.flatnonzero(pair.candidate_score < pair.baseline_score)
        if not len(worse):
            continue
        names = pair.baseline.column("item_id").take(worse)
        worse = worse[pc.sort_indices(names).to_numpy()]
        shifts = _shifts(pair, worse)
        # the sort is stable: equal shifts stay in the order of the items' names
        worst = np.argsort(-shifts, kind="stable")[:count]
        rows = zip(
            pair.baseline.take(worse[worst]).to_pylist(),
            pair.candidate.take(worse[worst]).to_pylist(),
            strict=True,
        )
        for rank, (a, b) in enumerate(rows):
            shift = float(shifts[worst[rank]])
            flips.append(
                (-shift, rank, order, _flip(pair.task, a, b, shift if _has_logprobs(pair) else None))
            )
    return [flip for *_, flip in sorted(flips, key=lambda entry: entry[:3])[:count]]


def _has_logprobs(pair: PairedTask) -> bool:
    columns = (table.column("choice_logprobs") for table in (pair.baseline, pair.candidate))
    return all(column.null_count == 0 for column in columns)


def _shifts(pair: PairedTask, places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return each item's shift in nats; zeros where log-likelihoods or the index of the right choice are not known."""
    nothing = np.zeros(len(places))
    if not _has_logprobs(pair):
        return nothing
    gold = pair.baseline.column("target").take(places).to_pylist()
    margins = []
    for table in (pair.baseline, pair.candidate):
        values = table.column("choice_logprobs").take(places).to_pylist()
        margins.append([_margin(one, right) for one, right in zip(values, gold, strict=True)])
    shifts = np.subtract(*np.asarray(margins))
    return np.where(np.isfinite(shifts), shifts, 0.0)


def _margin(values: Sequence[float], gold: str | None) -> float:
    """Return the right choice's log-likelihood less the best wrong one's."""
    if gold is None or not gold.isdecimal() or int(gold) >= len(values) or len(values) < 2:
        return math.nan
    right = int(gold)
    return values[right] - max(value for place, value in enumerate(values) if place != right)


def _flip(task: str, a: Mapping[str, object], b: Mapping[str, object], shift: float | None) -> Flip:
    return Flip(
        task=task,
        item_id=str(a["item_id"]),
        question=_text(a["prompt"]),
        expected=_answer(a, "target"),
        baseline=_answer(a, "output"),
        candidate=_answer(b, "output"),
        shift=shift,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _answer(row: Mapping[str, object], column: str) -> str | None:
    """Return the text of a choice where the column holds its index, else the column's own text."""
    value, choices = row[column], row["choices"]
    if (
        isinstance(choices, list)
        and isinstance(value, str)
        and value.isdecimal()
        and int(value) < len(choices)
    ):
        return str(choices[int(value)])
    return _text(value)
