"""Select informative items from the baseline's answers alone: a cheaper suite with most of the flips.

Items that a model always gets right, or always wrong, rarely flip, so they cost GPU time and carry little information.
Each item is answered several times at a low temperature to find them (Kübler et al. 2026, arXiv 2602.10144). No
candidate is used: that would tune the gate to it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gate.errors import SampleError
from gate.samples.record import TaskSamples
from gate.tasks import Curation, Task


def sample_choices(task: Task, samples: TaskSamples, runs: int, temperature: float, seed: int) -> dict[str, float]:
    """Answer multiple-choice items `runs` times, by sampling from the log-likelihoods of the baseline's samples.

    Return the share of right answers by item id.

    A choice is sampled with probability proportional to exp(score / temperature). The score is the choice's
    log-likelihood in nats. For `acc_norm` it is divided by the choice's length and multiplied by the mean length of the
    item's choices, which keeps the ranking of the metric and the unit.

    Raises
    ------
    SampleError
        The samples lack the log-likelihoods of an item of the task.
    """
    rows = samples.table.select(("item_id", "choice_logprobs")).to_pylist()
    logprobs = {row["item_id"]: row["choice_logprobs"] for row in rows}
    rng = np.random.default_rng(seed)
    means = {}
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
        means[item.item_id] = float(np.mean(chosen == item.target_index))
    return means


def keep_informative(
    task: Task, baseline: str, means: Mapping[str, float], runs: int, temperature: float, seed: int
) -> Curation:
    """Keep the items that were neither always right nor always wrong.

    Parameters
    ----------
    baseline : str
        Fingerprint of the model that answered.
    means : mapping of str to float
        Mean score of each item, from 0 to 1, by item id.
    runs, temperature, seed
        How `means` was obtained.

    Raises
    ------
    SampleError
        No item would be left.
    """
    kept = [item_id for item_id, score in means.items() if 0.0 < score < 1.0]
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
        total=len(means),
        always_right=sum(score >= 1.0 for score in means.values()),
        always_wrong=sum(score <= 0.0 for score in means.values()),
        kept=sorted(kept),
    )
