"""Which pieces of evidence are independent: what belongs together counts once, within a task and over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gate.samples import PairedTask
from gate.samples.duplicates import join_duplicates
from gate.stats import Links, clustered_flip_rate_interval, flip_rate_interval, link


def joined(pairs: Sequence[PairedTask], roles: Mapping[str, str]) -> list[PairedTask]:
    """Return the tasks with equal prompts, and clusters of one name, in one cluster.

    They are joined over all gating tasks, and within each advisory task. Tasks without a role are gating.
    """
    gating = [pair for pair in pairs if roles.get(pair.task, "gating") == "gating"]
    by_task = {pair.task: pair for pair in join_duplicates(gating)}
    return [by_task[pair.task] if pair.task in by_task else join_duplicates([pair])[0] for pair in pairs]


def links_of(pairs: Sequence[PairedTask], seed: int, *, margin: bool = False, reverse: bool = False) -> Links | None:
    """Return how the clusters of the joined gating tasks overlap; None where no test depends on it.

    Parameters
    ----------
    margin : bool
        Whether a margin is tested. At margin 0, the sizes of the differences are given and only their signs are random,
        so that only clusters with differences in several tasks make tests dependent.
    reverse : bool
        Use candidate minus baseline.
    """
    if all(pair.shared is None for pair in pairs):
        return None
    differences = [pair.baseline_score - pair.candidate_score for pair in pairs]
    if reverse:
        differences = [-own for own in differences]
    units = units_over_tasks(pairs)
    if margin:
        return link(differences, units, rng=seed)
    changed = [np.flatnonzero(own) for own in differences]
    units = [own[rows] for own, rows in zip(units, changed, strict=True)]
    distinct = np.concatenate([np.unique(own) for own in units])
    if len(np.unique(distinct)) == len(distinct):
        return None
    links = link([own[rows] for own, rows in zip(differences, changed, strict=True)], units, rng=seed)
    return links if len(links.patterns) else None


def units_over_tasks(pairs: Sequence[PairedTask]) -> list[npt.NDArray[np.int64]]:
    """Return the independent unit of each item, an item or a cluster: equal numbers, in any task, are one unit."""
    units, first = [], 1 + max((int(pair.shared.max()) for pair in pairs if pair.shared is not None), default=-1)
    for pair in pairs:
        own = first + (np.arange(pair.n) if pair.clusters is None else pair.clusters)
        first = int(own.max()) + 1
        units.append(own if pair.shared is None else np.where(pair.shared >= 0, pair.shared, own))
    return units


def flip_interval(pairs: Sequence[PairedTask], confidence_level: float) -> tuple[float, float]:
    """Return the interval of the flip rate over all items: exact for independent items, else by cluster."""
    changed = [before != after for before, after in (pair.answers for pair in pairs)]
    if all(pair.clusters is None and pair.shared is None for pair in pairs):
        flips, n = sum(int(np.count_nonzero(own)) for own in changed), sum(pair.n for pair in pairs)
        low, high = flip_rate_interval(flips, n, confidence_level)
    else:
        units = np.concatenate(units_over_tasks(pairs))
        low, high = clustered_flip_rate_interval(np.concatenate(changed), units, confidence_level)
    return float(low), float(high)
