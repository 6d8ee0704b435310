"""Select informative items: a cheaper suite with most of the flips.

Items that a model always gets right, or always wrong, rarely flip, so they cost GPU time and carry little information
(Kübler et al. 2026, arXiv 2602.10144). No candidate is used: that would tune the gate to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gate.common.selection import Selection
from gate.errors import SampleError
from gate.samples.record import TaskSamples
from gate.tasks import Curation, Task


def choice_probabilities(task: Task, samples: TaskSamples, rule: Selection) -> dict[str, float]:
    """Return the probability of the right answer at the rule's temperature, by item id, for a multiple-choice task.

    Raises
    ------
    SampleError
        The samples lack the log-likelihoods of an item of the task.
    """
    rows = samples.table.select(("item_id", "choice_logprobs")).to_pylist()
    logprobs = {row["item_id"]: row["choice_logprobs"] for row in rows}
    right = {}
    for item in task.items:
        values = logprobs.get(item.item_id)
        if values is None or item.target_index is None or len(values) != len(item.choices):
            raise SampleError(
                f"task {task.name}: the model has no log-likelihoods of item {item.item_id[:12]}.",
                "Evaluate it again with this gate.yml (`gate baseline --force`).",
            )
        right[item.item_id] = rule.probability_of_right(task.metric, values, item.choices, item.target_index)
    return right


def keep_informative(
    task: Task, model: str, rule: Selection, right: Mapping[str, float], answers: Literal["probability", "sampled"]
) -> Curation:
    """Keep the items whose answer is neither almost always right nor almost always wrong, and a share of the others.

    Parameters
    ----------
    model : str
        Fingerprint of the model that answered.
    right : mapping of str to float
        By item id: the probability of the right answer, or the share of right answers among `rule.runs` samples.
    answers : "probability" or "sampled"
        Which of the two.

    Raises
    ------
    SampleError
        No item would be left.
    """

    def keeps(item_id: str, value: float) -> bool:
        if answers == "probability":
            return rule.selects(item_id, value)
        return 0.0 < value < 1.0 or rule.draw(item_id) < rule.audit

    kept = [item_id for item_id, value in right.items() if keeps(item_id, value)]
    chosen = set(kept)
    dropped = [value for item_id, value in right.items() if item_id not in chosen]
    if not kept:
        raise SampleError(
            f"task {task.name}: with {rule.runs} answers per item every item is always right or always wrong; nothing "
            "would be left.",
            "Use more runs or a higher temperature, or use the whole task.",
        )
    return Curation(
        task=task.name,
        task_fingerprint=task.fingerprint,
        by=rule.by,
        model=model,
        weights=rule.weights,
        runs=rule.runs,
        temperature=rule.temperature,
        seed=rule.seed,
        audit=rule.audit,
        total=len(right),
        always_right=sum(value >= 0.5 for value in dropped),
        always_wrong=sum(value < 0.5 for value in dropped),
        kept=sorted(kept),
    )
