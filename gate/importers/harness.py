"""Samples of LM Evaluation Harness 0.4 (`lm_eval --log_samples`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gate.common.canonical import canonical_json
from gate.common.lm_eval import (
    DEFAULT_FILTERS,
    DEFAULT_METRICS,
    DEFAULT_TARGET_DELIMITER,
    lower_is_better,
    pick_choice,
    without_addresses,
)
from gate.errors import SampleError
from gate.importers.build import parse_score, refuse_unscored, task_samples
from gate.importers.choose import Selection
from gate.importers.files import label_of, no_rows, source_files
from gate.importers.harness_files import TaskFile, find_task_files
from gate.importers.harness_rows import HarnessRow, harness_rows
from gate.samples.record import ModelSamples, TaskSamples

_ABOUT = ("model_name", "lm_eval_version", "transformers_version", "git_hash", "date", "chat_template_sha")
_ABOUT_MODEL = (
    "model",
    "model_args",
    "model_dtype",
    "model_revision",
    "model_sha",
    "batch_size",
    "device",
    "limit",
)


def read_harness(path: Path, *, metric: str | None = None, filter_name: str | None = None) -> ModelSamples:
    """Read a `samples_*.jsonl` file, or the folder of a run, as one model's samples.

    `item_id` is lm-eval's `doc_hash`. If documents are equal, the second in order of `doc_id` is `<doc_hash>#2`.

    Raises
    ------
    SampleError
        See `read_foreign`.
    """
    files, notes = find_task_files(path)
    filters = Selection("filter", filter_name, DEFAULT_FILTERS)
    metrics = Selection("metric", metric, DEFAULT_METRICS)
    tasks: dict[str, TaskSamples] = {}
    for task, file in files.items():
        rows = list(harness_rows(file.path))
        if not rows:
            raise no_rows(file.path)
        where = f"task {task} ({file.path.name})"
        chosen_filter = filters.choose(task, {row.filter_name for row in rows}, where)
        rows = [row for row in rows if row.filter_name == chosen_filter]
        chosen_metric = metrics.choose(task, _scalar_metrics(rows, metric, where), where)
        if lower_is_better(chosen_metric, file.settings("higher_is_better").get(chosen_metric)):
            raise SampleError(
                f"{where}: lower values of the metric {chosen_metric} are better; quantgate needs a "
                "metric for which higher is better.",
                "Choose another with --metric NAME.",
            )
        ids, duplicates = _item_ids(rows)
        if duplicates:
            notes.append(f"{task}: {duplicates} documents are duplicated; numbered by position.")
        effective = file.settings("n-samples").get("effective")
        if isinstance(effective, int) and effective != len({row.doc_id for row in rows}):
            notes.append(f"{task}: {len(rows)} samples, but the results file says {effective}.")
        tasks[task] = _samples(file, rows, ids, chosen_metric, where)
    notes = [*filters.notes(), *metrics.notes(), *notes]
    return ModelSamples(label_of(path), tasks, _about(list(files.values())), tuple(notes))


def _scalar_metrics(rows: Sequence[HarnessRow], wanted: str | None, where: str) -> list[str]:
    """Return the metrics with one number per sample; lists (IFEval per instruction, perplexity) are not scores."""
    scalars: dict[str, None] = {}
    lists: dict[str, None] = {}
    for row in rows:
        for name, value in row.metrics.items():
            (lists if isinstance(value, list | dict) else scalars)[name] = None
    names = [name for name in scalars if name not in lists]
    if wanted is not None and wanted in lists:
        advice = "Log a metric with one number per sample."
        if wanted.startswith("inst_level"):
            advice = "Use prompt_level_strict_acc or prompt_level_loose_acc, which score the whole answer."
        elif names:
            advice = f"Use one of: {', '.join(sorted(names))}."
        raise SampleError(f"{where}: the metric {wanted} is a list in each sample, not one score.", advice)
    if not names:
        raise SampleError(
            f"{where}: no metric with one score per sample (found: {', '.join(sorted(lists)) or 'none'}).",
            "Perplexity and corpus scores (BLEU) cannot be paired by sample; compare a task with accuracy.",
        )
    return names


def _item_ids(rows: Sequence[HarnessRow]) -> tuple[list[str], int]:
    """Return one id per row and the number of duplicates: doc_hash, numbered where documents are equal."""
    doc_ids: dict[str, set[int]] = {}
    for row in rows:
        doc_ids.setdefault(row.doc_hash, set()).add(row.doc_id)
    numbers = {
        (doc_hash, doc_id): number
        for doc_hash, members in doc_ids.items()
        if len(members) > 1
        for number, doc_id in enumerate(sorted(members), start=1)
    }
    ids, duplicates = [], 0
    for row in rows:
        number = numbers.get((row.doc_hash, row.doc_id), 1)
        ids.append(row.doc_hash if number == 1 else f"{row.doc_hash}#{number}")
        duplicates += number > 1
    return ids, duplicates


def _samples(file: TaskFile, rows: Sequence[HarnessRow], ids: Sequence[str], metric: str, where: str) -> TaskSamples:
    scores = [parse_score(row.metrics.get(metric), metric, f"{file.path}:{row.line}") for row in rows]
    unscored = [item_id for item_id, score in zip(ids, scores, strict=True) if score is None]
    refuse_unscored(unscored, len(ids), f"{where}: {metric}")
    delimiter = file.settings("configs").get("target_delimiter")
    if not isinstance(delimiter, str):
        delimiter = DEFAULT_TARGET_DELIMITER
    columns = {
        "item_id": ids,
        "score": scores,
        "prompt_hash": [row.prompt_hash for row in rows],
        "output": [_output(row, metric, delimiter) for row in rows],
        "target": [row.target for row in rows],
        "choice_logprobs": [row.loglikelihoods or None for row in rows],
        "prompt": [row.prompt for row in rows],
        "choices": [row.choices or None for row in rows],
    }
    return task_samples(file.task, metric, columns, _facets(file, rows))


def _output(row: HarnessRow, metric: str, delimiter: str) -> str:
    """Return the generated text, or the index of the choice that the metric picks."""
    if not row.choices:
        return row.answer
    cut = len(delimiter) if all(choice.startswith(delimiter) for choice in row.choices) else 0
    choices = [choice[cut:] for choice in row.choices]
    return str(pick_choice(row.loglikelihoods, choices, metric, row.unconditioned))


def _facets(file: TaskFile, rows: Sequence[HarnessRow]) -> dict[str, str]:
    """Return what decides prompts and scores, without paths, dates and models.

    The prompt itself (few-shot examples, chat template) is in the prompt_hash of every row.
    """
    facets = {"filter": rows[0].filter_name}
    config = file.settings("configs")
    fewshot = file.of_task("n-shot")
    if fewshot is None:
        fewshot = config.get("num_fewshot")
    if fewshot is not None or config:
        facets["num_fewshot"] = str(fewshot or 0)
    version = file.of_task("versions")
    if version is not None:
        facets["task_version"] = str(version)
    if config:
        facets["repeats"] = str(config.get("repeats") or 1)
        for key in ("doc_to_choice", "target_delimiter"):
            if config.get(key) is not None:
                facets[key] = without_addresses(canonical_json(config[key]))
    generation = sorted({row.generation for row in rows})
    if generation != [""]:
        facets["generation"] = " or ".join(generation[:3])
    return facets


def _about(files: Sequence[TaskFile]) -> dict[str, object]:
    results, config = files[0].results, files[0].config
    about: dict[str, object] = {"format": "LM Evaluation Harness"}
    about |= {key: results[key] for key in _ABOUT if results.get(key) is not None}
    about |= {key: config[key] for key in _ABOUT_MODEL if config.get(key) not in (None, "")}
    about["files"] = source_files([file.path for file in files])
    return about
