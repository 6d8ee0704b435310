"""Samples of LM Evaluation Harness 0.4 (`lm_eval --log_samples`) and of lmms-eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gate.common.canonical import canonical_json
from gate.common.lm_eval import (
    DEFAULT_FILTERS,
    DEFAULT_TARGET_DELIMITER,
    LIKELIHOOD_PREFIX,
    pick_choice,
    text_units,
    without_addresses,
)
from gate.errors import SampleError
from gate.importers.build import NONFINITE, parse_score, refuse_unscored, task_samples
from gate.importers.choose import Selection
from gate.importers.files import label_of, no_rows, no_score, source_files
from gate.importers.harness_files import TaskFile, find_task_files
from gate.importers.harness_metrics import DEFAULTS, NoScoreError, label_and_values, usable_metrics
from gate.importers.harness_rows import HarnessRow, harness_rows
from gate.importers.orient import Directions
from gate.importers.reading import Reading
from gate.importers.twins import refuse_twins
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


@dataclass(frozen=True)
class _TaskRows:
    """The rows of one task in a file."""

    task: str
    file: TaskFile
    rows: Sequence[HarnessRow]

    @property
    def where(self) -> str:
        return f"task {self.task} ({self.file.path.name})"


class _Choices:
    """What is chosen over all tasks of a folder: filter, metric, direction."""

    def __init__(self, reading: Reading) -> None:
        self.filters = Selection("filter", reading.filter_name, DEFAULT_FILTERS)
        self.metrics = Selection("metric", reading.metric, DEFAULTS)
        self.directions = Directions(reading)

    def notes(self) -> list[str]:
        return [*self.filters.notes(), *self.metrics.notes(), *self.directions.notes()]


def read_harness(path: Path, paths: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the samples files `paths`, which were found at `path`, as one model's samples.

    `item_id` is lm-eval's `doc_hash`. If documents are equal, the second in order of `doc_id` is `<doc_hash>#2`. A task
    without a score per sample is left out, with a note, if there are others and it was not asked for. Perplexities are
    read as log-likelihoods per word or byte where they are asked for, or where there is nothing else.

    Raises
    ------
    SampleError
        See `read_foreign`.
    """
    found = find_task_files(path, paths, reading)
    choices = _Choices(reading)
    all_rows = [part for file in found.files for part in _by_task(file)]
    wanted = [part for part in all_rows if reading.wants(part.task) or (path.is_file() and len(all_rows) == 1)]
    tasks: dict[str, TaskSamples] = {}
    notes = list(found.notes)
    unscored: list[tuple[_TaskRows, NoScoreError]] = []
    for part in wanted:
        try:
            tasks[part.task] = _task(part, reading, choices, notes, part.task in reading.tasks, path.is_file())
        except NoScoreError as error:
            if part.task in reading.tasks:
                raise
            unscored.append((part, error))
    if not tasks:  # nothing but perplexities
        for part, _ in unscored:
            tasks[part.task] = _task(part, reading, choices, notes, True, path.is_file())
    else:
        notes += [f"left out: {error.message}{error.way_in}" for _, error in unscored]
    if path.is_dir():
        refuse_twins(path, {part.where: [_request_and_answer(row) for row in part.rows] for part in wanted})
    unread = sorted({*found.unread, *(part.task for part in all_rows)} - {part.task for part in wanted})
    left_out = [no_score(part.file.path, part.task) for part, _ in unscored if part.task not in tasks]
    return ModelSamples(
        label_of(path),
        tasks,
        _about([part.file for part in wanted]),
        tuple([*choices.notes(), *notes] if tasks else notes),
        tuple(unread),
        (*found.left_out, *left_out),
    )


def _by_task(file: TaskFile) -> list[_TaskRows]:
    tasks: dict[str, list[HarnessRow]] = {}
    for row in harness_rows(file.path):
        tasks.setdefault(row.task or file.task, []).append(row)
    if not tasks:
        raise no_rows(file.path)
    return [_TaskRows(task, file, rows) for task, rows in tasks.items()]


def _task(
    part: _TaskRows, reading: Reading, choices: _Choices, notes: list[str], likelihoods: bool, alone: bool
) -> TaskSamples:
    """Return the samples of a task.

    `likelihoods`: perplexities are read, too. `alone`: the file was passed by itself.
    """
    task, file, where = part.task, part.file, part.where
    usable = usable_metrics(part.rows, reading.metric, where, likelihoods)  # before the filter is chosen
    chosen_filter = choices.filters.choose(task, {row.filter_name for row in part.rows}, where)
    rows = [row for row in part.rows if row.filter_name == chosen_filter]
    usable = usable_metrics(rows, reading.metric, where, likelihoods)
    metric = choices.metrics.choose(task, usable, where)
    _refuse_nonfinite(rows, file.path, where)
    ids, duplicates = _item_ids(rows)
    if duplicates:
        notes.append(f"{task}: {duplicates} documents are duplicated; numbered by position.")
    effective = file.settings("n-samples", task).get("effective")
    if isinstance(effective, int) and effective != len({row.doc_id for row in rows}):
        notes.append(f"{task}: {len(rows)} samples, but the results file says {effective}.")
    label, values = label_and_values(rows, metric)
    scores = [parse_score(value, metric, f"{file.path}:{row.line}") for value, row in zip(values, rows, strict=True)]
    unscored = [
        f"{item_id} (line {row.line})" for item_id, row, score in zip(ids, rows, scores, strict=True) if score is None
    ]
    refuse_unscored(unscored, len(ids), f"{where}: {metric}")
    declared = file.settings("higher_is_better", task).get(metric) if label == metric else True
    label, oriented = choices.directions.orient(
        task, label, [0.0 if score is None else score for score in scores], where,
        declared if isinstance(declared, bool) else None, file.summary.name,
    )  # fmt: skip
    delimiter = file.settings("configs", task).get("target_delimiter")
    if not isinstance(delimiter, str):
        delimiter = DEFAULT_TARGET_DELIMITER
    columns = {
        "item_id": ids,
        "score": oriented,
        "prompt_hash": [row.prompt_hash for row in rows],
        "output": [_output(row, metric, delimiter) for row in rows],
        "target": [row.target for row in rows],
        "choice_logprobs": [row.loglikelihoods or None for row in rows],
        "prompt": [row.prompt for row in rows],
        "choices": [row.choices or None for row in rows],
    }
    if label.startswith(LIKELIHOOD_PREFIX):
        units = [text_units(row.metrics) for row in rows]
        columns |= {name: [each.get(name) for each in units] for name in ("text_words", "text_bytes")}
        columns |= {"output": None, "choice_logprobs": [[float(row.metrics[metric][0])] for row in rows]}
    # a file that was passed by itself is one task, whatever its summary calls it
    named_after_file = rows[0].task is None and (alone or task not in file.summary.tasks)
    return task_samples(task, label, columns, _facets(part, rows), [file.path], named_after_file)


def _request_and_answer(row: HarnessRow) -> tuple[tuple[object, ...], tuple[object, ...]]:
    request = (row.filter_name, row.doc_hash, row.prompt_hash, row.target, row.choices, row.generation)
    return request, (row.loglikelihoods, row.answer)


def _refuse_nonfinite(rows: Sequence[HarnessRow], path: Path, where: str) -> None:
    """Raise SampleError if any log-likelihood is NaN or infinite: the choice that was scored is arbitrary."""
    wrong = [row.line for row in rows if not row.finite]
    if wrong:
        raise SampleError(
            f"{where}: the log-likelihoods are NaN or infinite in {len(wrong)} of {len(rows)} samples, the first at "
            f"{path}:{wrong[0]}.",
            NONFINITE,
        )


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


def _output(row: HarnessRow, metric: str, delimiter: str) -> str:
    """Return the generated text, or the index of the choice that the metric picks."""
    if not row.choices:
        return row.answer
    cut = len(delimiter) if all(choice.startswith(delimiter) for choice in row.choices) else 0
    choices = [choice[cut:] for choice in row.choices]
    return str(pick_choice(row.loglikelihoods, choices, metric, row.unconditioned))


def _facets(part: _TaskRows, rows: Sequence[HarnessRow]) -> dict[str, str]:
    """Return what decides prompts and scores, without paths, dates and models.

    The prompt itself (few-shot examples, chat template) is in the prompt_hash of every row.
    """
    file, task = part.file, part.task
    facets = {"filter": rows[0].filter_name}
    config = file.settings("configs", task)
    fewshot = file.of_task("n-shot", task)
    if fewshot is None:
        fewshot = config.get("num_fewshot")
    if fewshot is not None or config:
        facets["num_fewshot"] = str(fewshot or 0)
    version = file.of_task("versions", task)
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


def _about(files: Sequence[TaskFile]) -> Mapping[str, object]:
    about: dict[str, object] = {"format": "LM Evaluation Harness"}
    if files:
        content, config = files[0].summary.content, files[0].summary.config
        about |= {key: content[key] for key in _ABOUT if content.get(key) is not None}
        about |= {key: config[key] for key in _ABOUT_MODEL if config.get(key) not in (None, "")}
    about["files"] = source_files(list(dict.fromkeys(file.path for file in files)))
    return about
