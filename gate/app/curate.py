"""Select the items of a suite whose answers vary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from gate.app.evaluate import baseline_sets
from gate.app.models import locate_model
from gate.app.reporter import Reporter
from gate.app.suite import as_loaded, open_suite
from gate.common.selection import Selection
from gate.config import LoadedConfig, ModelSettings, SampleSettings, TaskSettings
from gate.errors import ConfigError
from gate.evaluation.curate import choice_probabilities, keep_informative
from gate.samples.record import mean_scores
from gate.tasks import Curation


def curate(
    config: LoadedConfig | str | os.PathLike[str],
    reporter: Reporter,
    *,
    tasks: Sequence[str] = (),
    runs: int,
    temperature: float,
    audit: float,
    by: str | None = None,
) -> list[Curation]:
    """Return, per task, the items whose answer is neither almost always right nor almost always wrong.

    Multiple-choice items are scored once, and the probabilities of sampled answers follow from their log-likelihoods;
    texts are generated `runs` times.

    Parameters
    ----------
    tasks : sequence of str
        Curate only these tasks. Default: all.
    runs : int
        Answers per item.
    temperature : float
        Sampling temperature.
    audit : float
        Smallest probability of keeping an item.
    by : str, optional
        Model whose answers select the items. Default: the baseline, which can select multiple-choice items only.

    Raises
    ------
    ConfigError
        No such task; a judged task; a task that is neither multiple choice with one target nor generated text;
        generated text without `by`; or `by` is the baseline.
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
    judged = [task.name for task in wanted if task.judge is not None]
    if judged:
        raise ConfigError(
            f"a judge compares texts of two models, so that one model's answers have no score: {', '.join(judged)}.",
            "Name other tasks to curate with --task.",
        )
    suite = open_suite(_with(loaded, wanted), reporter)
    choices = tuple(task for task in suite.tasks if not task.generates)
    generated = [task.settings for task in suite.tasks if task.generates]
    untargeted = [task.name for task in choices if any(item.target_index is None for item in task.items)]
    if untargeted:
        raise ConfigError(
            "these tasks are neither multiple choice with one right answer nor generated text with a right answer: "
            f"{', '.join(untargeted)}.",
            "Name the tasks to curate with --task.",
        )
    if generated and by is None:
        raise ConfigError(
            f"the baseline's own answers cannot select generated texts without bias: "
            f"{', '.join(task.name for task in generated)}.",
            "Name a model that is neither the baseline nor the candidate with --by, or other tasks with --task.",
        )
    baseline = locate_model(loaded, loaded.config.baseline)
    model = baseline if by is None else locate_model(loaded, ModelSettings(model=by, revision=None))
    if by is not None and model.identity.weights == baseline.identity.weights:
        raise ConfigError(
            f"--by {by} has the weights of the baseline.",
            "Name a model that is neither the baseline nor the candidate.",
        )
    rule = Selection(
        "baseline" if by is None else "other",
        model.identity.weights,
        runs,
        temperature,
        loaded.config.samples.seed,
        audit,
    )
    right = {}  # probability or share of right answers of each item, by task
    if choices:
        sets = baseline_sets(replace(suite, tasks=choices), model, reporter)
        for task, sample_set in zip(choices, sets, strict=True):
            right[task.name] = choice_probabilities(task, sample_set.read(), rule)
    if generated:
        samples = SampleSettings(**{**loaded.config.samples.model_dump(), "repeats": runs, "temperature": temperature})
        repeated = open_suite(_with(loaded, [_sampled(task) for task in generated], samples), reporter)
        sets = baseline_sets(repeated, model, reporter)
        for task, sample_set in zip(repeated.tasks, sets, strict=True):
            right[task.name] = mean_scores(sample_set.read().table)
    # the selection belongs to the task as the gate evaluates it, not to the repeated one
    fingerprint = model.identity.fingerprint
    return [
        keep_informative(task, fingerprint, rule, right[task.name], "sampled" if task.generates else "probability")
        for task in suite.tasks
    ]


def _sampled(task: TaskSettings) -> TaskSettings:
    """Return a task without its own temperature and repeats, which the rule of selection sets."""
    if task.sampling is None:
        return task
    sampling = task.sampling.model_copy(update={"temperature": None, "repeats": None})
    return task.model_copy(update={"sampling": sampling})


def _with(loaded: LoadedConfig, tasks: list[TaskSettings], samples: SampleSettings | None = None) -> LoadedConfig:
    changes: dict[str, object] = {"tasks": tasks} | ({} if samples is None else {"samples": samples})
    return replace(loaded, config=loaded.config.model_copy(update=changes))
