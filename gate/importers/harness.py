"""Samples of LM Evaluation Harness 0.4 (`lm_eval --log_samples`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gate.canonical import canonical_json
from gate.errors import SampleError
from gate.importers.build import number, refuse_unscored, source_files, task_samples
from gate.importers.choose import DEFAULT_FILTERS, DEFAULT_METRICS, Choice, choose, explain
from gate.importers.harness_files import TaskFile, find_task_files
from gate.importers.harness_rows import HarnessRow, harness_rows
from gate.samples.record import ModelSamples, TaskSamples

_LOWER_IS_BETTER = frozenset(
    [
        "perplexity",
        "word_perplexity",
        "byte_perplexity",
        "bits_per_byte",
        "brier_score",
        "ter",
        "wer",
        "cer",
        "loss",
    ]
)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of a function in a task's Python code: differs in every run
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

    `item_id` is the harness's `doc_hash`; of equal documents, the second in order of `doc_id` is `<doc_hash>#2`.

    Raises
    ------
    SampleError
        See `read_foreign`.
    """
    files, notes = find_task_files(path)
    tasks: dict[str, TaskSamples] = {}
    filters: dict[str, Choice] = {}
    metrics: dict[str, Choice] = {}
    for task, file in files.items():
        rows = list(harness_rows(file.path))
        if not rows:
            raise SampleError(
                f"{file.path} holds no rows.", "Was the evaluation stopped before it wrote its samples?"
            )
        where = f"task {task} ({file.path.name})"
        names = {row.filter_name for row in rows}
        filters[task] = choose(filter_name, names, DEFAULT_FILTERS, what="filter", where=where)
        rows = [row for row in rows if row.filter_name == filters[task].name]
        metrics[task] = choose(
            metric, _metric_names(rows, metric, where), DEFAULT_METRICS, what="metric", where=where
        )
        _refuse_lower_is_better(file, metrics[task].name, where)
        ids, doubled = _item_ids(rows)
        if doubled:
            notes.append(
                f"{task}: {doubled} documents stand there more than once; told apart by their order."
            )
        expected = file.settings("n-samples").get("effective")
        if isinstance(expected, int) and expected != len({row.doc_id for row in rows}):
            notes.append(f"{task}: {len(rows)} samples, where the results file says {expected}.")
        tasks[task] = _samples(file, rows, ids, metrics[task].name, where)
    notes = [*explain("filter", filter_name, filters), *explain("metric", metric, metrics), *notes]
    first = next(iter(files.values()))
    label = path.name if path.is_dir() else path.stem
    return ModelSamples(label, tasks, _about(first, files), tuple(notes))


def _metric_names(rows: Sequence[HarnessRow], wanted: str | None, where: str) -> list[str]:
    """Return the metrics with one number a sample; lists (IFEval per instruction, perplexity) are not scores."""
    scalar: dict[str, None] = {}
    lists: dict[str, None] = {}
    for row in rows:
        for name, value in row.metrics.items():
            (lists if isinstance(value, list | dict) else scalar)[name] = None
    names = [name for name in scalar if name not in lists]
    if wanted is not None and wanted in lists:
        advice = (
            f"Use one of: {', '.join(sorted(names))}." if names else "Log a metric with one number a sample."
        )
        if wanted.startswith("inst_level"):
            advice = "Use prompt_level_strict_acc or prompt_level_loose_acc, which score the whole answer."
        raise SampleError(f"{where}: the metric {wanted} is a list in each sample, not one score.", advice)
    if not names:
        found = ", ".join(sorted(lists)) or "none"
        raise SampleError(
            f"{where}: no metric with one score a sample (found: {found}).",
            "Perplexity and corpus scores (BLEU) cannot be paired sample by sample; compare a task with accuracy.",
        )
    return names


def _refuse_lower_is_better(file: TaskFile, metric: str, where: str) -> None:
    said = file.settings("higher_is_better").get(metric)
    if said is False or (said is None and metric in _LOWER_IS_BETTER):
        raise SampleError(
            f"{where}: the metric {metric} is better when lower; a drop in it is not a degradation.",
            "Choose another with --metric NAME.",
        )


def _item_ids(rows: Sequence[HarnessRow]) -> tuple[list[str], int]:
    """Return one id a row: doc_hash, numbered where different documents (other doc_id) are equal."""
    ids_of: dict[str, list[int]] = {}
    for row in rows:
        ids_of.setdefault(row.doc_hash, []).append(row.doc_id)
    order = {
        doc_hash: {doc_id: place for place, doc_id in enumerate(sorted(set(doc_ids)), start=1)}
        for doc_hash, doc_ids in ids_of.items()
        if len(doc_ids) > 1
    }
    ids, doubled = [], 0
    for row in rows:
        place = order.get(row.doc_hash, {}).get(row.doc_id, 1)
        ids.append(row.doc_hash if place == 1 else f"{row.doc_hash}#{place}")
        doubled += place > 1
    return ids, doubled


def _samples(
    file: TaskFile, rows: Sequence[HarnessRow], ids: Sequence[str], metric: str, where: str
) -> TaskSamples:
    scores: list[float | None] = []
    for row in rows:
        try:
            scores.append(number(row.metrics.get(metric)))
        except ValueError as error:
            raise SampleError(
                f"{file.path}:{row.line}: {metric} is {error}, not a score.",
                "Choose another with --metric NAME.",
            ) from None
    missing = [item for item, score in zip(ids, scores, strict=True) if score is None]
    refuse_unscored(len(missing), len(ids), missing, f"{where}: {metric}")
    delimiter = file.settings("configs").get("target_delimiter")
    columns: Mapping[str, Any] = {
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


def _output(row: HarnessRow, metric: str, delimiter: object) -> str:
    """Return the generated text, or the index of the choice that the metric takes (the first of equals)."""
    if not row.choices:
        return row.answer
    values = list(row.loglikelihoods)
    if metric == "acc_mutual_info" and row.unconditioned:
        values = [value - prior for value, prior in zip(values, row.unconditioned, strict=True)]
    if metric in ("acc_norm", "acc_bytes"):
        before = delimiter if isinstance(delimiter, str) else " "
        cut = len(before) if all(choice.startswith(before) for choice in row.choices) else 0
        texts = [choice[cut:] for choice in row.choices]
        lengths = [len(text.encode()) if metric == "acc_bytes" else len(text) for text in texts]
        values = [
            value / length if length else -math.inf for value, length in zip(values, lengths, strict=True)
        ]
    return str(max(range(len(values)), key=values.__getitem__))


def _facets(file: TaskFile, rows: Sequence[HarnessRow]) -> dict[str, str]:
    """Return what decided question and scoring; nothing that names a path, a date or a model.

    The prompt itself (few-shot examples, chat template) is in every row's prompt_hash.
    """
    facets = {"filter": rows[0].filter_name}
    config = file.settings("configs")
    shots = file.of_task("n-shot")
    shots = config.get("num_fewshot") if shots is None else shots
    if shots is not None or config:
        facets["num_fewshot"] = str(shots or 0)
    version = file.of_task("versions")
    if version is not None:
        facets["task_version"] = str(version)
    if config:
        facets["repeats"] = str(config.get("repeats") or 1)
        for key in ("doc_to_choice", "target_delimiter"):
            if config.get(key) is not None:
                facets[key] = _ADDRESS.sub("", canonical_json(config[key]))
    generation = sorted({row.generation for row in rows})
    if generation != [""]:
        facets["generation"] = " or ".join(generation[:3])
    return facets


def _about(file: TaskFile, files: Mapping[str, TaskFile]) -> dict[str, object]:
    about: dict[str, object] = {"format": "LM Evaluation Harness"}
    about |= {key: file.results[key] for key in _ABOUT if file.results.get(key) is not None}
    about |= {key: file.config[key] for key in _ABOUT_MODEL if file.config.get(key) not in (None, "")}
    about["files"] = source_files([one.path for one in files.values()])
    return about
