"""Early stopping: evaluate tasks side by side and stop once the candidate is significantly worse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gate.config import EarlyStop
from gate.engines import Progress
from gate.errors import ConfigError
from gate.evaluation.evaluate import Steps, TaskEvaluation
from gate.samples.record import mean_scores
from gate.samples.selection import counted_rows
from gate.stats import log_e_value
from gate.store import SampleSet
from gate.tasks import Item, Task

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StoppingEvidence:
    """The flips of the gating tasks so far, as an e-process against "no more regressions than improvements".

    Attributes
    ----------
    alpha : float
        Share of the decision's alpha that early stopping may spend.
    total : int
        Items of the gating tasks.
    items : int
        Items evaluated so far.

    Notes
    -----
    Under the null, each flip is a fair coin toss, in whichever task it occurs. This holds for independent items (no
    clusters, one item per prompt) in an order that is drawn before the evaluation. By Ville's inequality the e-value
    then ever reaches 1 / alpha with probability at most alpha; see `gate.stats.log_e_value`.
    """

    alpha: float
    total: int
    items: int = 0
    regressions: int = 0
    improvements: int = 0

    def update(self, baseline: FloatArray, candidate: FloatArray, evaluated: int | None = None) -> StoppingEvidence:
        """Return the evidence with the scores of further items; entry i of both arrays is the same item.

        `evaluated` is the number of items evaluated for them, where not all count. Default: those in the arrays.
        """
        return replace(
            self,
            items=self.items + (len(baseline) if evaluated is None else evaluated),
            regressions=self.regressions + int(np.count_nonzero(candidate < baseline)),
            improvements=self.improvements + int(np.count_nonzero(candidate > baseline)),
        )

    @property
    def log_e_value(self) -> float:
        """Natural logarithm of the e-value."""
        return log_e_value(self.regressions, self.improvements)

    @property
    def stopped(self) -> bool:
        """Whether the e-value reached 1 / alpha."""
        return self.log_e_value >= -math.log(self.alpha)


def evaluate_monitored(
    evaluations: Sequence[TaskEvaluation],
    baseline: Sequence[SampleSet],
    progress: Sequence[Progress],
    settings: EarlyStop,
    seed: int,
) -> tuple[list[SampleSet], StoppingEvidence]:
    """Evaluate tasks side by side, a random share of each at a time, until the evidence suffices or all items are done.

    Parameters
    ----------
    evaluations : sequence of TaskEvaluation
        The gating tasks.
    baseline : sequence of SampleSet
        The baseline's set of each of them.
    progress : sequence of callable
        Called with the number of finished items of each of them.
    seed : int
        Seed of the order of the items.

    Returns
    -------
    list of SampleSet
        One per task, with the items that were evaluated.

    Raises
    ------
    ConfigError
        A task's scores are not binary.
    GateError
        See `gate.evaluation.evaluate.TaskEvaluation`; finished data files are kept for the next run.
    """
    tasks = [evaluation.task for evaluation in evaluations]
    sizes = [len(task.items) for task in tasks]
    looks = split_into_looks(sizes, settings.every, seed)
    counted = first_of_each_prompt([task.items for task in tasks], looks)
    evidence = StoppingEvidence(settings.alpha, sum(sizes))
    expected = [mean_scores(sample_set.read().table) for sample_set in baseline]
    for task, scores in zip(tasks, expected, strict=True):
        _require_binary(task, scores)
    with ExitStack() as stack:
        running = []
        for index, evaluation in enumerate(evaluations):
            groups = [[tasks[index].items[item] for item in look[index]] for look in looks if look[index]]
            running.append(evaluation.steps(progress[index], groups))
            stack.callback(running[-1].close)
        for look in looks:
            for index, task in enumerate(tasks):
                if look[index]:
                    table = next(running[index])
                    scores = mean_scores(counted_rows(task.name, task.metric, task.facets, table))
                    _require_binary(task, scores)
                    scores = {item_id: score for item_id, score in scores.items() if item_id in counted[index]}
                    before = np.array([expected[index][item_id] for item_id in scores])
                    evidence = evidence.update(before, np.array(list(scores.values())), len(look[index]))
            if evidence.stopped:
                break
        return [_finish(steps, evidence.stopped) for steps in running], evidence


def split_into_looks(sizes: Sequence[int], every: int, seed: int) -> list[list[list[int]]]:
    """Split the items of every task, in random order, into the same number of looks.

    Parameters
    ----------
    sizes : sequence of int
        Number of items of each task.
    every : int
        Items per look, all tasks together.

    Returns
    -------
    list of list of list of int
        Item indices by look and task. Every item occurs once, and every look has an equal share of each task. Within
        a look the items of a task are in task order, which batches better.
    """
    rng = np.random.default_rng(seed)
    count = max(1, min(-(-sum(sizes) // every), max(sizes, default=1)))
    tasks = [np.array_split(rng.permutation(size), count) for size in sizes]
    return [[sorted(groups[look].tolist()) for groups in tasks] for look in range(count)]


def first_of_each_prompt(tasks: Sequence[Sequence[Item]], looks: Sequence[Sequence[Sequence[int]]]) -> list[set[str]]:
    """Return the ids of the items that count as evidence, per task: of items with equal prompts, the first in order.

    Copies of a prompt are not independent, in whichever tasks they are.

    Parameters
    ----------
    tasks : sequence of sequence of Item
    looks : sequence
        Item indices by look and task, see `split_into_looks`.
    """
    seen: set[object] = set()
    counted: list[set[str]] = [set() for _ in tasks]
    for look in looks:
        for items, indices, own in zip(tasks, look, counted, strict=True):
            for item in (items[index] for index in indices):
                prompt = (item.context, item.messages, item.prompt, item.choices)
                if prompt not in seen:
                    seen.add(prompt)
                    own.add(item.item_id)
    return counted


def _require_binary(task: Task, scores: Mapping[str, float]) -> None:
    # flips of graded scores are not fair coins: many small losses and few large gains can be an improvement
    if not set(scores.values()) <= {0.0, 1.0}:
        raise ConfigError(
            f"task {task.name}: early_stop needs binary scores (0 or 1); the metric {task.metric} gives others.",
            "Make the task advisory, set repeats to 1, or remove decision.early_stop.",
        )


def _finish(steps: Steps, stop: bool) -> SampleSet:
    try:
        steps.send(stop)
    except StopIteration as end:
        sample_set: SampleSet = end.value
        return sample_set
    raise AssertionError("an evaluation wrote more data files than there were looks")
