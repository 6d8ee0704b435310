"""Evaluating a candidate while its flips are watched, so that a clearly worse one costs no more than it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gate.config import EarlyStop
from gate.decision import EarlyStopping, Watch, looks
from gate.errors import ConfigError
from gate.evaluation.evaluate import Steps
from gate.store import SampleSet
from gate.tasks import Item, Task


@dataclass(frozen=True)
class Watched:
    """A gating task, the baseline's set of it, and what starts its evaluation with its items in a given cut."""

    task: Task
    baseline: SampleSet
    start: Callable[[Sequence[Sequence[Item]]], Steps]


def evaluate_watched(
    watched: Sequence[Watched], settings: EarlyStop, seed: int
) -> tuple[list[SampleSet], EarlyStopping]:
    """Evaluate tasks side by side, a random share of each at a time, until all is done or the evidence suffices.

    Parameters
    ----------
    watched : sequence of Watched
    settings : EarlyStop
    seed : int
        Of the order of the items.

    Returns
    -------
    list of SampleSet, one a task
        Of the items that were answered.
    EarlyStopping
        What was seen.

    Raises
    ------
    GateError
        See `gate.evaluation.evaluate.evaluate`; what was answered is kept for the next run.
    """
    order = looks([len(one.task.items) for one in watched], settings.every, seed)
    watch = Watch(settings.alpha, sum(len(one.task.items) for one in watched))
    scores = [_means(one.baseline.read().table) for one in watched]
    for one, found in zip(watched, scores, strict=True):
        _check_binary(one.task, found)
    with ExitStack() as stack:
        running = []
        for number, one in enumerate(watched):
            cut = [[one.task.items[place] for place in look[number]] for look in order if look[number]]
            running.append(one.start(cut))
            stack.callback(running[-1].close)
        stop = False
        for look in order:
            for number in range(len(watched)):
                if look[number]:
                    found = _means(next(running[number]))
                    _check_binary(watched[number].task, found)
                    before = np.array([scores[number][item] for item in found])
                    stop = watch.look(before, np.array(list(found.values())))
            if stop:
                break
        return [_finished(steps, stop) for steps in running], watch.found


def _means(table: pa.Table) -> dict[str, float]:
    """Return each item's mean score over its repeats."""
    grouped = table.group_by("item_id").aggregate([("score", "mean")])
    return dict(zip(grouped["item_id"].to_pylist(), grouped["score_mean"].to_pylist(), strict=True))


def _check_binary(task: Task, scores: Mapping[str, float]) -> None:
    # flips of other scores are no fair coins: many small losses and few large gains can be an improvement
    if not set(scores.values()) <= {0.0, 1.0}:
        raise ConfigError(
            f"task {task.name}: early_stop needs scores that are right or wrong; those of {task.metric} are not.",
            "Make the task advisory, take one answer an item, or remove early_stop.",
        )


def _finished(steps: Steps, stop: bool) -> SampleSet:
    try:
        steps.send(stop)
    except StopIteration as end:
        found: SampleSet = end.value
        return found
    raise AssertionError("an evaluation has more data files than there were looks")
