"""The worst flips: items on which the candidate scores lower.

They are ranked by the lost log-likelihood of the right choice relative to the best wrong one; without log-likelihoods,
regressions are taken from the tasks in round-robin order, the largest loss of score first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pydantic import Field

from gate.common.indices import parse_index
from gate.common.lm_eval import LIKELIHOOD_PREFIX
from gate.decision.section import ResultSection
from gate.samples import PairedTask
from gate.samples.behaviour import is_likelihood


class Flip(ResultSection):
    """One item on which the candidate scored lower than the baseline."""

    task: str
    item_id: str
    prompt: str | None = Field(alias="question")
    target: str | None = Field(alias="expected")
    baseline: str | None = Field(description="The baseline's answer.")
    candidate: str | None = Field(description="The candidate's answer.")
    shift: float | None = Field(
        description="Loss in log-likelihood of the right choice relative to the best wrong one, in nats."
    )


def worst_flips(pairs: Sequence[PairedTask], count: int = 10) -> list[Flip]:
    """Return up to `count` regressions, largest shift first, or from the tasks in round-robin order."""
    flips: list[tuple[float, int, int, Flip]] = []
    for order, pair in enumerate(pairs):
        before, after = pair.answers
        rows = np.flatnonzero(after < before)
        if not len(rows):
            continue
        rows = rows[pc.sort_indices(pair.baseline.column("item_id").take(rows)).to_numpy()]
        shifts = logprob_shifts(pair, rows)
        # the sort is stable: equal losses stay in the order of their item ids
        worst = np.lexsort(((after - before)[rows], -shifts))[:count]
        sides = (table.take(rows[worst]).to_pylist() for table in (pair.baseline, pair.candidate))
        known = has_logprobs(pair)
        for rank, (baseline, candidate) in enumerate(zip(*sides, strict=True)):
            shift = float(shifts[worst[rank]])
            flip = Flip(
                task=pair.task,
                item_id=str(baseline["item_id"]),
                prompt=baseline["prompt"],
                target=answer_text(baseline, "target"),
                baseline=answer_text(baseline, "output"),
                candidate=answer_text(candidate, "output"),
                shift=shift if known else None,
            )
            flips.append((-shift, rank, order, flip))
    return [flip for *_, flip in sorted(flips, key=lambda entry: entry[:3])[:count]]


def has_logprobs(pair: PairedTask) -> bool:
    """Return whether both sides have the log-likelihoods of all choices."""
    columns = (table.column("choice_logprobs") for table in (pair.baseline, pair.candidate))
    return all(column.null_count == 0 for column in columns)


def logprob_shifts(pair: PairedTask, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the shift of the given rows, in nats; 0 where log-likelihoods or the right choice are unknown."""
    if not has_logprobs(pair):
        return np.zeros(len(rows))
    targets = pair.baseline.column("target").take(rows).to_pylist()
    margins = []
    for table in (pair.baseline, pair.candidate):
        logprobs = table.column("choice_logprobs").take(rows).to_pylist()
        margins.append([_margin(values, target) for values, target in zip(logprobs, targets, strict=True)])
    shifts = np.subtract(*np.asarray(margins))
    return np.where(np.isfinite(shifts), shifts, 0.0)


def answer_text(row: Mapping[str, object], column: str) -> str | None:
    """Return the text of a choice where the column holds its index, else the column's own text.

    The answer to a given text is its likelihood.
    """
    value, choices = row[column], row["choices"]
    metric = str(row["metric"])
    if column == "output" and value is None and is_likelihood(metric):
        return f"{row['score']:.4g} nats per {metric.removeprefix(LIKELIHOOD_PREFIX)}"
    if isinstance(choices, list) and (index := parse_index(value, len(choices))) is not None:
        return str(choices[index])
    return None if value is None else str(value)


def _margin(logprobs: Sequence[float], target: str | None) -> float:
    """Return the log-likelihood of the right choice minus that of the best wrong one."""
    right = parse_index(target, len(logprobs))
    if right is None or len(logprobs) < 2:
        return math.nan
    return logprobs[right] - max(value for index, value in enumerate(logprobs) if index != right)
