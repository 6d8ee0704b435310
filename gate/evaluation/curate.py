"""Select informative items from the baseline's answers alone: a cheaper suite with most of the flips.

Items that a model always gets right, or always wrong, rarely flip, so they cost GPU time and carry little information.
Each item is answered several times at a low temperature to find them (Kübler et al. 2026, arXiv 2602.10144). No
candidate is used: that would tune the gate to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.errors import SampleError
from gate.samples.record import TaskSamples
from gate.tasks import Curation, Task

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MeanScores:
    """The mean score of each item over several answers.

    Attributes
    ----------
    items : tuple of str
        Item ids.
    scores : float64 array of shape (items,)
        From 0 to 1.
    """

    items: tuple[str, ...]
    scores: FloatArray


def sample_choices(task: Task, samples: TaskSamples, runs: int, temperature: float, seed: int) -> MeanScores:
    """Answer multiple-choice items several times, by sampling from their stored log-likelihoods.

    A choice is sampled with probability proportional to exp(score / temperature). The score is the choice's
    log-likelihood in nats. For `acc_norm` it is divided by the choice's length and multiplied by the mean length of the
    item's choices, which keeps the ranking of the metric and the unit.

    Parameters
    ----------
    task : Task
    samples : TaskSamples
        The baseline's samples.
    runs : int
        Answers per item.
    temperature : float
        Above 0.
    seed : int

    Raises
    ------
    SampleError
        The samples lack the log-likelihoods of an item of the task.
    """
    rows = samples.table.select(("item_id", "choice_logprobs")).to_pylist()
    logprobs = {row["item_id"]: row["choice_logprobs"] for row in rows}
    rng = np.random.default_rng(seed)
    means = []
    for item in task.items:
        values = logprobs.get(item.item_id)
        if values is None or item.target_index is None or len(values) != len(item.choices):
            raise SampleError(
                f"task {task.name}: the baseline has no log-likelihoods of item {item.item_id[:12]}.",
                "Evaluate the baseline again with this gate.yml (`gate baseline --force`).",
            )
        scores = np.asarray(values, dtype=np.float64)
        if task.metric == "acc_norm":
            lengths = np.array([len(choice) for choice in item.choices], dtype=np.float64)
            scores = scores / lengths * lengths.mean()
        weights = np.exp((scores - scores.max()) / temperature)
        chosen = rng.choice(len(weights), size=runs, p=weights / weights.sum())
        means.append(float(np.mean(chosen == item.target_index)))
    return MeanScores(tuple(item.item_id for item in task.items), np.asarray(means))


def average_repeats(samples: TaskSamples) -> MeanScores:
    """Return the mean score of each item over its generated repeats."""
    scores: dict[str, list[float]] = {}
    for row in samples.table.select(["item_id", "score"]).to_pylist():
        scores.setdefault(row["item_id"], []).append(row["score"])
    return MeanScores(tuple(scores), np.array([float(np.mean(values)) for values in scores.values()]))


def keep_informative(
    task: Task, baseline: str, means: MeanScores, runs: int, temperature: float, seed: int
) -> Curation:
    """Keep the items that were neither always right nor always wrong.

    Parameters
    ----------
    task : Task
    baseline : str
        Fingerprint of the model that answered.
    means : MeanScores
    runs, temperature, seed
        How `means` was obtained.

    Raises
    ------
    SampleError
        No item would be left.
    """
    always, never = means.scores >= 1.0, means.scores <= 0.0
    kept = [item for item, drop in zip(means.items, always | never, strict=True) if not drop]
    if not kept:
        raise SampleError(
            f"task {task.name}: in {runs} runs every item was always right or always wrong; nothing would be left.",
            "Use more runs or a higher temperature, or use the whole task.",
        )
    return Curation(
        task=task.name,
        task_fingerprint=task.fingerprint,
        baseline=baseline,
        runs=runs,
        temperature=temperature,
        seed=seed,
        total=len(means.items),
        always_right=int(np.count_nonzero(always)),
        always_wrong=int(np.count_nonzero(never)),
        kept=sorted(kept),
    )
