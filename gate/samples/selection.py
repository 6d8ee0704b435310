"""Curated tasks: an item counts only if the log-likelihoods of both models select it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gate.common.indices import parse_index
from gate.common.selection import FACET, Selection
from gate.errors import SampleError
from gate.samples.alignment import Alignment
from gate.samples.record import TaskSamples

_OLD_FACET = "items"  # a task that was curated by quantgate's first rule has this facet only


def selection_of(facets: Mapping[str, str]) -> Selection | None:
    """Return the rule by which the items of a task were selected; None if they were not."""
    return Selection.parse(facets[FACET]) if FACET in facets else None


def selected_rows(task: str, metric: str, rule: Selection, table: pa.Table) -> npt.NDArray[np.bool_]:
    """Return which rows of a multiple-choice task the rule selects by the log-likelihoods in the table.

    Raises
    ------
    SampleError
        A row lacks log-likelihoods, choices or the index of the right choice.
    """
    rows = table.select(("item_id", "target", "choice_logprobs", "choices")).to_pylist()
    selected = np.empty(len(rows), dtype=np.bool_)
    for number, row in enumerate(rows):
        logprobs, choices, target = row["choice_logprobs"], row["choices"] or (), row["target"]
        count = len(logprobs or ())
        index = parse_index(target, count)
        if index is None or (choices and len(choices) != count):
            raise SampleError(
                f"task {task}: its items were selected by log-likelihoods, and item {row['item_id'][:16]} has none "
                "for a known right choice.",
                "Evaluate both models again with this gate.yml.",
            )
        right = rule.probability_of_right(metric, logprobs, choices, index)
        selected[number] = rule.selects(row["item_id"], right)
    return selected


def counted_rows(task: str, metric: str, facets: Mapping[str, str], candidate: pa.Table) -> pa.Table:
    """Return the candidate's rows that count, of items that the baseline has selected."""
    rule = selection_of(facets)
    if rule is None or rule.by != "baseline":
        return candidate
    return candidate.filter(pa.array(selected_rows(task, metric, rule, candidate)))


def counted(samples: TaskSamples, aligned: Alignment) -> tuple[Alignment, list[str]]:
    """Return the aligned rows of a task that count, and notes for the user.

    Parameters
    ----------
    samples : TaskSamples
        Of the baseline; its facets hold the rule.

    Raises
    ------
    SampleError
        No row counts, or see `selected_rows`.
    """
    task, rule = samples.task, selection_of(samples.facets)
    if rule is None:
        if _OLD_FACET not in samples.facets:
            return aligned, []
        return aligned, [
            f"task {task}: its items were selected by an old `gate curate` from the log-likelihoods that also score "
            "the baseline. The test is biased: curate again, or use the whole task."
        ]
    if rule.by != "baseline":
        return aligned, []
    both = np.logical_and(
        *(selected_rows(task, samples.metric, rule, table) for table in (aligned.baseline, aligned.candidate))
    )
    count = int(np.count_nonzero(both))
    if count == 0:
        raise SampleError(
            f"task {task}: none of its {len(both)} curated items is selected by the log-likelihoods of both models.",
            "Evaluate the whole task (remove `items:`), or curate with a larger --audit.",
        )
    if count == len(both):
        return aligned, []
    mask = pa.array(both)
    rows = replace(aligned, baseline=aligned.baseline.filter(mask), candidate=aligned.candidate.filter(mask))
    return rows, [
        f"task {task}: {len(both) - count:,} of {len(both):,} curated items do not count, because the log-likelihoods "
        "of only one model select them; so the selection is fair to both models."
    ]
