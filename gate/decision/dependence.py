"""Which pieces of evidence are independent: items with equal prompts count once, within a task and over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gate.config import DecisionSettings, TaskPolicy
from gate.decision.rows import Judged, Role
from gate.samples import PairedTask
from gate.samples.duplicates import join_duplicates
from gate.stats import Links, link


def joined(
    pairs: Sequence[PairedTask],
    roles: Mapping[str, Role],
    settings: DecisionSettings,
    policies: Mapping[str, TaskPolicy],
) -> list[PairedTask]:
    """Return the tasks with equal prompts in one cluster: over all gating tasks, and within each advisory task."""
    gating = [pair for pair in pairs if roles.get(pair.task, "gating") == "gating"]
    bounded = settings.margin > 0 or settings.certify is not None
    bounded |= any(policy.margin or policy.certify for policy in policies.values())
    by_task = {pair.task: pair for pair in join_duplicates(gating, only_discordant=not bounded)}
    return [
        by_task[pair.task] if pair.task in by_task else join_duplicates([pair], only_discordant=not bounded)[0]
        for pair in pairs
    ]


def links_of(gating: Sequence[Judged], seed: int) -> Links | None:
    """Return how the clusters of the gating tasks overlap; None where they do not."""
    if all(task.pair.shared is None for task in gating):
        return None
    differences = [task.pair.baseline_score - task.pair.candidate_score for task in gating]
    return link(differences, units_over_tasks([task.pair for task in gating]), rng=seed)


def units_over_tasks(pairs: Sequence[PairedTask]) -> list[npt.NDArray[np.int64]]:
    """Return the independent unit of each item, an item or a cluster: equal numbers, in any task, are one unit."""
    units, first = [], 1 + max((int(pair.shared.max()) for pair in pairs if pair.shared is not None), default=-1)
    for pair in pairs:
        own = first + (np.arange(pair.n) if pair.clusters is None else pair.clusters)
        first = int(own.max()) + 1
        units.append(own if pair.shared is None else np.where(pair.shared >= 0, pair.shared, own))
    return units
