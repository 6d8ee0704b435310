"""Choosing the items that carry signal, from the baseline alone: a cheaper suite with most of the flips.

Items that a model always gets right, or always wrong, rarely flip; they cost GPU time and say nothing. They are found
by answering each item several times at a low temperature, and are left out (Kübler et al. 2026, arXiv 2602.10144).
No candidate is ever looked at, or the gate would be tuned to it.
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
class Runs:
    """How often each item was right.

    Attributes
    ----------
    items : tuple of str
        Item ids.
    right : float64 array of shape (items,)
        Mean score over the runs, 0 to 1.
    """

    items: tuple[str, ...]
    right: FloatArray


def sampled_choices(task: Task, samples: TaskSamples, runs: int, temperature: float, seed: int) -> Runs:
    """Answer multiple-choice items several times at a temperature, from log-likelihoods that were scored once.

    A choice is drawn with probability proportional to exp(score / temperature). The score is the choice's
    log-likelihood in nats; for `acc_norm` it is divided by the choice's length and multiplied by the mean length
    of the item's choices, which keeps the ranking that the metric uses and the unit.

    Parameters
    ----------
    task : Task
    samples : TaskSamples
        The baseline's.
    runs : int
    temperature : float
        Above 0.
    seed : int

    Returns
    -------
    Runs

    Raises
    ------
    SampleError
        The samples hold no log-likelihoods, or other items than the task.
    """
    columns = ("item_id", "choice_logprobs")
    stored = {row["item_id"]: row["choice_logprobs"] for row in samples.table.select(columns).to_pylist()}
    rng = np.random.default_rng(seed)
    right = []
    for item in task.items:
        values = stored.get(item.item_id)
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
        right.append(float(np.mean(chosen == item.target_index)))
    return Runs(tuple(item.item_id for item in task.items), np.asarray(right))


def repeated_texts(samples: TaskSamples) -> Runs:
    """Return how often each item was right over its repeats, as they were generated."""
    scores: dict[str, list[float]] = {}
    for row in samples.table.select(["item_id", "score"]).to_pylist():
        scores.setdefault(row["item_id"], []).append(row["score"])
    return Runs(tuple(scores), np.array([float(np.mean(values)) for values in scores.values()]))


def curation(task: Task, baseline: str, found: Runs, runs: int, temperature: float, seed: int) -> Curation:
    """Keep the items that were neither always right nor always wrong.

    Raises
    ------
    SampleError
        Nothing is left.
    """
    always, never = found.right >= 1.0, found.right <= 0.0
    kept = [item for item, drop in zip(found.items, always | never, strict=True) if not drop]
    if not kept:
        raise SampleError(
            f"task {task.name}: in {runs} runs every item was always right or always wrong; nothing would be left.",
            "Take more runs or a higher temperature, or use the whole task.",
        )
    return Curation(
        task=task.name,
        task_fingerprint=task.fingerprint,
        baseline=baseline,
        runs=runs,
        temperature=temperature,
        seed=seed,
        total=len(found.items),
        always_right=int(np.count_nonzero(always)),
        always_wrong=int(np.count_nonzero(never)),
        kept=sorted(kept),
    )
