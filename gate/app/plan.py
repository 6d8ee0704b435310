"""Which drop a suite can detect, and how many items are needed to detect a given drop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import numpy as np

from gate.app.policy import DecisionKeywords, decision_settings
from gate.config import DecisionSettings
from gate.decision.plan import SuitePlan, TaskToPlan, plan_suite
from gate.errors import ConfigError
from gate.stats import PlannedLinks, PlannedTask, planned_scale

if TYPE_CHECKING:  # a plan without samples needs no pyarrow
    from gate.app.compare import Samples
    from gate.config import LoadedConfig
    from gate.decision.rows import Judged
    from gate.samples import ModelSamples

_TYPICAL_FLIP_RATES = (0.02, 0.05, 0.1)  # lossless changes, 8 bit, 4 bit
_LEAST_FLIPS = 0.5


def plan(
    baseline: Samples | None = None,
    second: Samples | None = None,
    *,
    config: LoadedConfig | str | os.PathLike[str] | None = None,
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
        Samples of the baseline: they give the number of items per task. Items with equal prompts count once, over all
        tasks. Advisory tasks with scores outside of 0 to 1 are left out unless `second` is given. Default: with
        `config` and without `n`, the baseline of gate.yml from its store.
    second : path or ModelSamples, optional
        A second run of the baseline, or an earlier candidate: it gives the flip rate per task.
    config : path or LoadedConfig, optional
        A gate.yml whose policy is planned for: its `decision`, and the role, the margin and the metric of each task.
        Its tasks are planned. Arguments that are given replace its keys. `alpha_spending` and `early_stop` are
        ignored.
    n : int, optional
        Number of items of a single task, if there are no samples.
    flip_rate : float, optional
        Expected proportion of items that flip by noise alone, half of them for the worse; a drop adds regressions to
        them. Default: as observed in `second`, else 0.02, 0.05 and 0.1 in turn.
    drop : float, optional
        Drop (proportion) for which the needed number of items is computed.
    **decision
        alpha, power, rule and margin, as in gate.yml's `decision` section.

    Returns
    -------
    dict of str to SuitePlan
        One plan per flip rate, by a label such as "flip rate 0.05" or "flip rates as observed".

    Raises
    ------
    ConfigError
        Too little is given to plan with, the drop is not above the margin or cannot occur, a gating task cannot be
        planned, or a decision setting is unknown or out of range.
    SampleError
        A file cannot be read, the two sides do not pair, or the store has no samples of the baseline.

    Examples
    --------
    >>> import gate
    >>> plan = gate.plan(n=1000, flip_rate=0.05, drop=0.02)["flip rate 0.05"]
    >>> plan.tasks[0].n, plan.tasks[0].needed
    (1000, 1163)
    """
    loaded = None
    if config is not None:
        from gate.app.suite import as_loaded

        loaded = as_loaded(config)
    if loaded is not None and baseline is None and n is None:
        baseline = _stored(loaded)
    if baseline is None:
        settings = _decision(loaded, decision)
        if n is None and (drop is None or flip_rate is None):
            raise ConfigError(
                "gate plan has too little to plan with.", "Give BASELINE, --config, --n, or --flip-rate and --drop."
            )
        items = n or _needed(drop or 0.0, flip_rate or 0.0, settings)
        rates = _TYPICAL_FLIP_RATES if flip_rate is None else (flip_rate,)
        suites = {rate: TaskToPlan(items, rate, PlannedTask(items, rate, settings.margin)) for rate in rates}
        return {f"flip rate {rate:g}": plan_suite({"suite": task}, settings, drop) for rate, task in suites.items()}
    if second is not None and flip_rate is None:
        tasks, settings = _tasks(baseline, second, loaded, decision)
        return {"flip rates as observed": plan_suite(_observed(tasks, settings), settings, drop, _links(tasks))}
    tasks, settings = _tasks(baseline, None, loaded, decision)
    unknown = [task.pair.task for task in tasks if task.pair.unit != "proportion" and task.role == "gating"]
    if unknown:
        raise ConfigError(
            f"a flip rate says nothing about scores that are not proportions: {', '.join(unknown)}.",
            "Give SECOND, a second run of the baseline, or declare the range of the scores as the task's `scale`.",
        )
    tasks = [task for task in tasks if task.pair.unit == "proportion"]
    return {
        f"flip rate {rate:g}": plan_suite(_with_rate(tasks, rate, settings), settings, drop, _links(tasks))
        for rate in (_TYPICAL_FLIP_RATES if flip_rate is None else (flip_rate,))
    }


def _decision(loaded: LoadedConfig | None, decision: DecisionKeywords) -> DecisionSettings:
    """Return the settings without those of single tasks."""
    if loaded is None:
        return decision_settings(decision)
    from gate.app.file_policy import decision_of

    return decision_of(loaded, decision)


def _stored(loaded: LoadedConfig) -> ModelSamples:
    """Return the samples of the baseline in the store."""
    from gate.app.evaluate import cached_baseline
    from gate.app.models import locate_model
    from gate.app.reporter import SilentReporter
    from gate.app.suite import open_suite
    from gate.store import as_samples

    return as_samples(
        cached_baseline(open_suite(loaded, SilentReporter()), locate_model(loaded, loaded.config.baseline))
    )


def _tasks(
    baseline: Samples, second: Samples | None, loaded: LoadedConfig | None, decision: DecisionKeywords
) -> tuple[list[Judged], DecisionSettings]:
    """Return the tasks with their roles and margins; without a second run, no answer changes."""
    from gate.app.file_policy import file_policy
    from gate.app.judge import Answers, paired
    from gate.decision.dependence import joined
    from gate.decision.rows import NO_POLICY, Judged, evidence_of
    from gate.decision.validity import refuse_unknown_units
    from gate.importers.renamed import with_names_of

    first = _samples(baseline, loaded)
    other = first if second is None else with_names_of(first, _samples(second, loaded))
    known = [] if loaded is None else [task.name for task in loaded.config.tasks]
    if loaded is not None and (missing := [name for name in known if name not in first.tasks]):
        raise ConfigError(
            f"the baseline lacks tasks of {loaded.path}: {', '.join(missing)}; it has: {', '.join(first.tasks)}.",
            "Give samples of all tasks, or a gate.yml with the tasks to plan for.",
        )
    judged = [] if loaded is None else [task.name for task in loaded.config.tasks if task.judge is not None]
    if judged:
        raise ConfigError(
            f"a judge compares two models, so one run tells nothing about: {', '.join(judged)}.",
            "Plan with --n and the flip rate that you expect, or with a gate.yml of the other tasks.",
        )
    files = file_policy(
        loaded, decision, {}, tasks=(), advisory=(), seed=None, available=list(first.tasks), allow_partial=False
    )
    policy = files.policy
    pairs = paired(Answers(first, other), policy, files.names).tasks
    if second is None:  # how the items of a cluster flip is not known from one run; only equal prompts flip together
        pairs = tuple(replace(task, clusters=None, names=None) for task in pairs)
    tasks = [
        Judged(pair, policy.roles.get(pair.task, "gating"), evidence_of(pair, policy.seed), own)
        for pair in joined(pairs, policy.roles)
        for own in [policy.tasks.get(pair.task, NO_POLICY)]
    ]
    refuse_unknown_units(tasks, policy.decision)
    return tasks, policy.decision


def _samples(samples: Samples, loaded: LoadedConfig | None) -> ModelSamples:
    if not isinstance(samples, str | os.PathLike):
        return samples
    from gate.app.file_policy import directions
    from gate.app.samples import load_samples

    lower, higher = directions(loaded)
    tasks = [] if loaded is None else [task.name for task in loaded.config.tasks]
    return load_samples(samples, tasks=tasks, lower_is_better=lower, higher_is_better=higher)


def _links(tasks: Sequence[Judged]) -> PlannedLinks | None:
    """Return what the gating tasks share."""
    from gate.decision.sensitivity import planned_links

    return planned_links([task.pair for task in tasks if task.role == "gating"])


def _with_rate(tasks: Sequence[Judged], rate: float, settings: DecisionSettings) -> dict[str, TaskToPlan]:
    """Return the tasks as binary units with a given flip rate; repeats of an item are not items."""
    planned = {}
    for task in tasks:
        pair = task.pair
        counts = np.ones(pair.n) if pair.clusters is None else np.bincount(pair.clusters)
        units = max(1, round(pair.n**2 / float(np.dot(counts, counts))))  # Kish's effective number
        own = PlannedTask(units, rate, task.margin(settings), float(pair.baseline_score.mean()))
        planned[pair.task] = TaskToPlan(pair.n, rate, own, task.role)
    return planned


def _observed(tasks: Sequence[Judged], settings: DecisionSettings) -> dict[str, TaskToPlan]:
    """Return the tasks with the observed flips as noise."""
    from gate.decision.sensitivity import planned_task

    # a task without a flip in this pair of runs may flip in the next: count half a flip instead of none
    return {
        task.pair.task: TaskToPlan(
            task.pair.n,
            max(task.pair.regressions + task.pair.improvements, _LEAST_FLIPS) / task.pair.n,
            planned_task(task.pair, task.margin(settings), _LEAST_FLIPS),
            task.role,
        )
        for task in tasks
    }


def _needed(drop: float, flip_rate: float, settings: DecisionSettings) -> int:
    """Return the items that a single task needs."""
    if drop + flip_rate > 1:
        raise ConfigError(
            f"the drop {drop:g} and the flip rate {flip_rate:g} are more than all items together.",
            "Give a smaller --drop or --flip-rate.",
        )
    task = PlannedTask(1000, flip_rate, settings.margin)
    return max(1, round(task.n * planned_scale([task], drop, settings.alpha, settings.power, settings.rule, rng=0)))
