"""Samples of Inspect (https://inspect.aisi.org.uk, MIT): `.eval` and `.json` logs, read by its own library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json, digest
from gate.common.jsonlines import as_text, clean_text
from gate.errors import SampleError
from gate.importers.build import parse_score, refuse_unscored, task_samples
from gate.importers.choose import Selection
from gate.importers.files import label_of, refuse_models, shorten, source_files
from gate.importers.inspect_epochs import complete_samples, reduced_values, sample_name, task_names
from gate.importers.orient import Directions
from gate.importers.reading import Reading
from gate.samples.record import ModelSamples, TaskSamples

_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}  # correct, partial, incorrect, no answer
_GENERATION = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "stop_seqs",
    "frequency_penalty",
    "presence_penalty",
    "num_choices",
    "reasoning_effort",
    "reasoning_tokens",
)
_UNREAD = frozenset({"events", "store", "timelines"})


def read_inspect(path: Path, logs: Sequence[Path], reading: Reading) -> ModelSamples:
    """Read the Inspect logs `logs`, which were found at `path`, one per task, as one model's samples.

    The metric is the name of the scorer, or `scorer/key` where a scorer gives several values. Epoch k is repeat k - 1
    where the log takes the mean over epochs; with any other reducer, the reduced score of each sample is read.

    Raises
    ------
    SampleError
        inspect-ai is not installed; a run did not succeed; samples have an error or no score; there are several
        scorers and none is chosen. See also `read_foreign`.
    """
    library = _library(path)
    headers = {file: _read(library, file, header_only=True) for file in logs}
    names = task_names(headers)
    wanted = {file: header for file, header in headers.items() if reading.wants(names[file])}
    refuse_models(path, (header.eval.model for header in wanted.values()))
    files, notes, left_out = _newest(path, wanted, names)
    metrics = Selection("metric", reading.metric, ())
    directions = Directions(reading)
    tasks: dict[str, TaskSamples] = {}
    for task, file in files.items():
        log = _read(library, file, resolve_attachments="core", exclude_fields=set(_UNREAD))
        where = f"task {task} ({file.name})"
        samples = complete_samples(log, where, reading.allow_partial, notes)
        scorer = metrics.choose(task, _scorers(samples, where), where)
        tasks[task] = _samples(task, file, log, samples, scorer, where, directions, notes)
    notes = [*metrics.notes(), *directions.notes(), *notes] if tasks else notes
    about: dict[str, object] = {"format": "Inspect", "files": source_files(list(files.values()))}
    if files:
        run = headers[next(iter(files.values()))].eval
        about |= {"model": run.model, "created": str(run.created), "packages": dict(run.packages or {})}
    unread = sorted({*names.values()} - {*tasks})
    left_out += [f"{file.name}: not a task that was asked for." for file in headers if file not in wanted]
    return ModelSamples(label_of(path), tasks, about, tuple(notes), tuple(unread), tuple(left_out))


def _library(path: Path) -> Any:
    try:
        return importlib.import_module("inspect_ai.log")
    except ImportError as error:
        raise SampleError(
            f"{path}: reading Inspect logs needs the package inspect-ai, which cannot be imported: {error}.",
            'Install it: pip install "quantgate[inspect]"',
        ) from None


def _read(library: Any, path: Path, **options: Any) -> Any:
    try:
        return library.read_eval_log(path, **options)
    except Exception as error:  # zipfile, JSON and pydantic raise errors of their own for a broken file
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise SampleError(
            f"{path} is not a readable Inspect log: {reason}.",
            "Check with `inspect log dump FILE` whether it is truncated, or was written by a newer inspect-ai.",
        ) from None


def _newest(
    path: Path, headers: Mapping[Path, Any], names: Mapping[Path, str]
) -> tuple[dict[str, Path], list[str], list[str]]:
    """Return the newest log of each task, notes on the older ones, and a line for each of these."""
    logs: dict[str, list[Path]] = {}
    for file in sorted(headers, key=lambda file: (str(headers[file].eval.created), file.name)):
        logs.setdefault(names[file], []).append(file)
    arguments = {
        canonical_json([header.eval.model_args, header.eval.model_base_url]): file for file, header in headers.items()
    }
    if len(arguments) > 1:
        raise SampleError(
            f"{path}: the logs {shorten([file.name for file in arguments.values()])} have different model arguments: "
            f"{shorten(sorted(arguments))}.",
            "Move each run into a folder of its own.",
        )
    notes, left_out = [], []
    for task, files in logs.items():
        if len(files) > 1:
            notes.append(f"{task}: {len(files)} logs in the folder; read the newest, {files[-1].name}.")
            left_out += [f"{file.name}: an older log of {task}." for file in files[:-1]]
    return {task: files[-1] for task, files in sorted(logs.items())}, notes, left_out


def _scorers(samples: Sequence[Any], where: str) -> list[str]:
    names: dict[str, None] = {}
    for sample in samples:
        names |= dict.fromkeys(_values(sample))
    if not names:
        refuse_unscored([sample_name(sample) for sample in samples], len(samples), where)
    return list(names)


def _values(sample: Any) -> dict[str, Any]:
    """Return the scores of a sample by scorer, or by scorer/key where a scorer gives several."""
    values: dict[str, Any] = {}
    for scorer, score in (sample.scores or {}).items():
        if isinstance(score.value, Mapping):
            values |= {f"{scorer}/{key}": value for key, value in score.value.items()}
        else:
            values[str(scorer)] = score.value
    return values


def _samples(
    task: str,
    file: Path,
    log: Any,
    samples: Sequence[Any],
    scorer: str,
    where: str,
    directions: Directions,
    notes: list[str],
) -> TaskSamples:
    rows = [_row(sample, scorer, where) for sample in samples]
    reducer, values = reduced_values(log, scorer, where)
    if reducer is not None:
        # one row per item, that of its first epoch without an error
        first = {row["item_id"]: row for row in reversed(rows) if row["item_id"] in values}
        rows = [row | {"repeat": 0} for row in first.values()]
        for row in rows:
            row["score"] = _score(values[row["item_id"]], scorer, f"{where}, sample {row['item_id']}")
        notes.append(f"{task}: read the score of each sample over its epochs with the log's reducer, {reducer}.")
    unscored = [str(row["item_id"]) for row in rows if row["score"] is None]
    refuse_unscored(unscored, len(rows), f"{where}: scorer {scorer}")
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    metric, columns["score"] = directions.orient(task, scorer, columns["score"], where)
    facets = _facets(log) | {"epochs_reducer": "mean" if reducer is None else f"{reducer} of {log.eval.config.epochs}"}
    return task_samples(task, metric, columns, facets, [file])


def _row(sample: Any, scorer: str, where: str) -> dict[str, Any]:
    scores = sample.scores or {}
    score = scores.get(scorer) or scores.get(scorer.split("/")[0])
    answer = score.answer if score is not None and score.answer is not None else sample.output.completion
    target = sample.target
    if not isinstance(target, str):
        target = target[0] if len(target) == 1 else list(target)
    usage = list((sample.model_usage or {}).values())
    return {
        "item_id": str(sample.id),
        "repeat": int(sample.epoch) - 1,
        "score": _score(_values(sample).get(scorer), scorer, f"{where}, sample {sample_name(sample)}"),
        "prompt_hash": digest([_conversation(sample), sample.choices]),
        "output": clean_text(answer),
        "target": as_text(target),
        "prompt": clean_text(_input_text(sample)),
        "choices": [clean_text(choice) for choice in sample.choices] if sample.choices else None,
        "tokens_in": sum(entry.input_tokens for entry in usage) if usage else None,
        "tokens_out": sum(entry.output_tokens for entry in usage) if usage else None,
    }


def _score(value: object, scorer: str, where: str) -> float | None:
    if isinstance(value, str) and value in _GRADES:
        return _GRADES[value]
    return parse_score(value, f"the score of {scorer}", where, "C, I, P, N or a number")


def _conversation(sample: Any) -> list[list[str]]:
    """Return role and text of every message before the model's first answer."""
    messages = []
    for message in sample.messages or ():
        if message.role == "assistant" and getattr(message, "source", None) != "input":
            break
        messages.append([str(message.role), str(message.text)])
    return messages or [["user", _input_text(sample)]]


def _input_text(sample: Any) -> str:
    if isinstance(sample.input, str):
        return sample.input
    return "\n\n".join(str(message.text) for message in sample.input)


def _facets(log: Any) -> dict[str, str]:
    config = log.plan.config
    settings = {name: getattr(config, name, None) for name in _GENERATION}
    return {
        "task_version": str(log.eval.task_version),
        "task_args": canonical_json(log.eval.task_args or {}),
        "generation": canonical_json({name: value for name, value in settings.items() if value is not None}),
    }
