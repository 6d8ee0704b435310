"""Which drop a suite can detect, and how many items are needed to detect a given drop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Unpack

from gate.app.policy import DecisionKeywords, decision_settings
from gate.config import DecisionSettings
from gate.decision.plan import SuitePlan, plan_suite
from gate.errors import ConfigError
from gate.stats import required_n

if TYPE_CHECKING:  # a plan without samples needs no pyarrow
    from gate.app.compare import Samples
    from gate.samples import ModelSamples

_TYPICAL_FLIP_RATES = (0.02, 0.05, 0.1)  # lossless changes, 8 bit, 4 bit


def plan(
    baseline: Samples | None = None,
    second: Samples | None = None,
    *,
    n: int | None = None,
    flip_rate: float | None = None,
    drop: float | None = None,
    **decision: Unpack[DecisionKeywords],
) -> dict[str, SuitePlan]:
    """Return the detectable drop of a suite, and the number of items needed to detect a given drop.

    The command `gate plan` calls it.

    Parameters
    ----------
    baseline : path or ModelSamples, optional
        Samples of the baseline: they give the number of items per task.
    second : path or ModelSamples, optional
        A second run of the baseline, or an earlier candidate: it gives the flip rate per task.
    n : int, optional
        Number of items of a single task, if there are no samples.
    flip_rate : float, optional
        Expected proportion of items that flip. Default: as observed in `second`, else 0.02, 0.05 and 0.1 in turn.
    drop : float, optional
        Drop (proportion) for which the needed number of items is computed.
    **decision
        alpha, power and rule, as in gate.yml's `decision` section.

    Returns
    -------
    dict of str to SuitePlan
        One plan per flip rate, by a label such as "flip rate 0.05" or "flip rates as observed".

    Raises
    ------
    ConfigError
        Too little is given to plan with, the drop exceeds the flip rate, the samples are not binary, or a decision
        setting is unknown or out of range.
    SampleError
        A file cannot be read, or the two sides do not pair.

    Examples
    --------
    >>> import gate
    >>> plan = gate.plan(n=1000, flip_rate=0.05, drop=0.02)["flip rate 0.05"]
    >>> plan.tasks[0].n, plan.tasks[0].needed
    (1000, 833)
    """
    settings = decision_settings(decision)
    if baseline is None:
        if n is None and (drop is None or flip_rate is None):
            raise ConfigError(
                "gate plan has too little to plan with.", "Give BASELINE, or --n, or --flip-rate and --drop."
            )
        sizes = {"suite": n or _needed(drop or 0.0, flip_rate or 0.0, settings)}
    elif second is None:
        sizes = _items_per_task(_samples(baseline))
    else:
        sizes, observed = _observed(_samples(baseline), _samples(second))
        if flip_rate is None:
            return {"flip rates as observed": plan_suite(sizes, observed, settings, drop)}
    return {
        f"flip rate {rate:g}": plan_suite(sizes, dict.fromkeys(sizes, rate), settings, drop)
        for rate in (_TYPICAL_FLIP_RATES if flip_rate is None else (flip_rate,))
    }


def _samples(samples: Samples) -> ModelSamples:
    if not isinstance(samples, str | os.PathLike):
        return samples
    from gate.app.samples import load_samples

    return load_samples(samples)


def _items_per_task(samples: ModelSamples) -> dict[str, int]:
    import pyarrow.compute as pc

    # repeats of an item are not items
    return {name: pc.count_distinct(task.table.column("item_id")).as_py() for name, task in samples.tasks.items()}


def _observed(first: ModelSamples, second: ModelSamples) -> tuple[dict[str, int], dict[str, float]]:
    """Return the number of paired items and the observed flip rate of every task."""
    from gate.samples import pair

    tasks = pair(first, second).tasks
    for task in tasks:
        if not task.binary or task.clusters is not None:
            raise ConfigError(
                f"task {task.task}: a flip rate needs binary scores and items without clusters.",
                "Give --flip-rate instead of a second run, and take the figures as a guide for such tasks.",
            )
    # a task without a flip in this pair of runs may flip in the next: count half a flip instead of none
    rates = {task.task: max(task.regressions + task.improvements, 0.5) / task.n for task in tasks}
    return {task.task: task.n for task in tasks}, rates


def _needed(drop: float, flip_rate: float, settings: DecisionSettings) -> int:
    if drop > flip_rate:
        raise ConfigError(
            f"the drop {drop:g} is larger than the flip rate {flip_rate:g}; every lost item is a flip.",
            "Give a smaller --drop or a larger --flip-rate.",
        )
    return required_n(flip_rate, drop, settings.alpha, settings.power)
