"""The worst flips: answers that were right with confidence and are now wrong with confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
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
        baseline, candidate = pair.baseline.take(worse), pair.candidate.take(worse)
        found = [_flip(pair.task, a, b) for a, b in zip(_rows(baseline), _rows(candidate), strict=True)]
        flips += [(-(flip.shift or 0.0), rank, order, flip) for rank, flip in enumerate(_sorted(found))]
    return [flip for *_, flip in sorted(flips, key=lambda entry: entry[:3])[:count]]


def _sorted(flips: list[Flip]) -> list[Flip]:
    return sorted(flips, key=lambda flip: (-(flip.shift or 0.0), flip.item_id))


def _rows(table: pa.Table) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = table.to_pylist()
    return rows


def _flip(task: str, a: dict[str, object], b: dict[str, object]) -> Flip:
    return Flip(
        task=task,
        item_id=str(a["item_id"]),
        question=_text(a["prompt"]),
        expected=_answer(a, "target"),
        baseline=_answer(a, "output"),
        candidate=_answer(b, "output"),
        shift=_shift(a, b),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _answer(row: dict[str, object], column: str) -> str | None:
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


def _shift(a: dict[str, object], b: dict[str, object]) -> float | None:
    gold = a["target"]
    if not (isinstance(gold, str) and gold.isdecimal()):
        return None
    margins = []
    for row in (a, b):
        values = row["choice_logprobs"]
        if not isinstance(values, list) or int(gold) >= len(values) or len(values) < 2:
            return None
        others = [value for place, value in enumerate(values) if place != int(gold)]
        margins.append(values[int(gold)] - max(others))
    shift = margins[0] - margins[1]
    return shift if math.isfinite(shift) else None
