"""Choose the items of a suite that carry signal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from gate.app.evaluate import baseline_sets
from gate.app.models import locate_model
from gate.app.reporter import Reporter
from gate.app.suite import as_loaded, open_suite
from gate.config import LoadedConfig, SampleSettings, TaskSettings
from gate.errors import ConfigError
from gate.evaluation.curate import keep_informative, sample_choices
from gate.samples.record import mean_scores
from gate.tasks import Curation


def curate(
    config: LoadedConfig | str | os.PathLike[str],
    reporter: Reporter,
    *,
    tasks: Sequence[str] = (),
    runs: int,
    temperature: float,
) -> list[Curation]:
    """Return, per task, the items that the baseline gets neither always right nor always wrong.

    Multiple-choice items are scored once and sampled from their log-probabilities; texts are generated `runs` times.

    Parameters
    ----------
    tasks : sequence of str
        Curate only these tasks. Default: all.
    runs : int
        Answers per item.
    temperature : float
        Sampling temperature.

    Raises
    ------
    ConfigError
        No such task, or a task that is neither multiple choice with one target nor generated text.
    """
    loaded = as_loaded(config)
    names = [task.name for task in loaded.config.tasks]
    unknown = sorted(set(tasks) - set(names))
    if unknown:
        raise ConfigError(f"no such task in {loaded.path}: {', '.join(unknown)}.", f"It has: {', '.join(names)}.")
    # curate the whole task, not the selection that gate.yml may already name
    wanted = [
        task.model_copy(update={"items": None}) for task in loaded.config.tasks if not tasks or task.name in tasks
    ]
    suite = open_suite(_with(loaded, wanted), reporter)
    seed = loaded.config.samples.seed
    baseline = locate_model(loaded, loaded.config.baseline)
    choices = tuple(task for task in suite.tasks if not task.generates)
    untargeted = [task.name for task in choices if any(item.target_index is None for item in task.items)]
    if untargeted:
        raise ConfigError(
            f"neither multiple choice with one right answer nor generated text: {', '.join(untargeted)}.",
            "Name the tasks to curate with --task.",
        )
    means = {}  # of the scores of each item, by task
    if choices:
        sets = baseline_sets(replace(suite, tasks=choices), baseline, reporter)
        for task, sample_set in zip(choices, sets, strict=True):
            means[task.name] = sample_choices(task, sample_set.read(), runs, temperature, seed)
    generated = [task.settings for task in suite.tasks if task.generates]
    if generated:
        samples = SampleSettings(**{**loaded.config.samples.model_dump(), "repeats": runs, "temperature": temperature})
        repeated = open_suite(_with(loaded, generated, samples), reporter)
        sets = baseline_sets(repeated, baseline, reporter)
        for task, sample_set in zip(repeated.tasks, sets, strict=True):
            means[task.name] = mean_scores(sample_set.read().table)
    # the selection belongs to the task as the gate evaluates it, not to the repeated one
    fingerprint = baseline.identity.fingerprint
    return [keep_informative(task, fingerprint, means[task.name], runs, temperature, seed) for task in suite.tasks]


def _with(loaded: LoadedConfig, tasks: list[TaskSettings], samples: SampleSettings | None = None) -> LoadedConfig:
    changes: dict[str, object] = {"tasks": tasks} | ({} if samples is None else {"samples": samples})
    return replace(loaded, config=loaded.config.model_copy(update=changes))
