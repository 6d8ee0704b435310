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
from gate.importers.files import files_in, label_of, refuse_models, shorten, source_files
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


def read_inspect(path: Path, *, metric: str | None = None) -> ModelSamples:
    """Read an Inspect log, or a folder with one log per task, as one model's samples.

    `metric` names the scorer, or `scorer/key` where a scorer gives several values. Epoch k is repeat k - 1.

    Raises
    ------
    SampleError
        inspect-ai is not installed; a run did not succeed; samples have an error or no score; there are several
        scorers and none is chosen. See also `read_foreign`.
    """
    library = _library(path)
    logs = [path] if path.is_file() else files_in(path, (".eval",)) or files_in(path, (".json",))
    headers = {file: _read(library, file, header_only=True) for file in logs}
    refuse_models(path, (header.eval.model for header in headers.values()))
    files, notes = _newest(path, headers)
    metrics = Selection("metric", metric, ())
    tasks: dict[str, TaskSamples] = {}
    for task, file in files.items():
        log = _read(library, file, resolve_attachments="core", exclude_fields=set(_UNREAD))
        where = f"task {task} ({file.name})"
        _refuse_incomplete(log, where)
        scorer = metrics.choose(task, _scorers(log.samples, where), where)
        tasks[task] = _samples(task, log, scorer, where)
    notes = [*metrics.notes(), *notes]
    about: dict[str, object] = {"format": "Inspect", "files": source_files(list(files.values()))}
    run = headers[next(iter(files.values()))].eval
    about |= {"model": run.model, "created": str(run.created), "packages": dict(run.packages or {})}
    return ModelSamples(label_of(path), tasks, about, tuple(notes))


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
            "Check with `inspect log dump FILE` whether it was cut, or written by a newer inspect-ai.",
        ) from None


def _newest(path: Path, headers: Mapping[Path, Any]) -> tuple[dict[str, Path], list[str]]:
    """Return the newest log of each task, and notes on the older ones."""
    logs: dict[str, list[Path]] = {}
    for file in sorted(headers, key=lambda file: (str(headers[file].eval.created), file.name)):
        logs.setdefault(str(headers[file].eval.task), []).append(file)
    notes = []
    for task, files in logs.items():
        arguments = {canonical_json(headers[file].eval.model_args) for file in files}
        if len(arguments) > 1:
            raise SampleError(
                f"{path}: the logs of {task} have different model arguments: {shorten(sorted(arguments))}.",
                "Move each run into a folder of its own.",
            )
        if len(files) > 1:
            notes.append(f"{task}: {len(files)} logs in the folder; read the newest, {files[-1].name}.")
    return {task: files[-1] for task, files in sorted(logs.items())}, notes


def _refuse_incomplete(log: Any, where: str) -> None:
    samples = log.samples or []
    planned = log.results.total_samples if log.results else None
    if log.status != "success" or (planned is not None and planned != len(samples)):
        total = "" if planned is None else f" of {planned}"
        raise SampleError(
            f"{where}: the run is not complete: status {log.status!r}, {len(samples)}{total} samples logged.",
            "Finish it with `inspect eval-retry FILE`, and log every sample.",
        )
    if not samples:
        raise SampleError(f"{where}: the log has no samples.", "Run without --no-log-samples.")
    failed = [_name(sample) for sample in samples if sample.error is not None]
    refuse_unscored(failed, len(samples), where, "ended with an error")
    invalid = [_name(sample) for sample in samples if getattr(sample, "invalidation", None) is not None]
    refuse_unscored(invalid, len(samples), where, "were marked invalid")


def _scorers(samples: Sequence[Any], where: str) -> list[str]:
    names: dict[str, None] = {}
    for sample in samples:
        names |= dict.fromkeys(_values(sample))
    if not names:
        refuse_unscored([_name(sample) for sample in samples], len(samples), where)
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


def _samples(task: str, log: Any, scorer: str, where: str) -> TaskSamples:
    rows = [_row(sample, scorer, where) for sample in log.samples]
    unscored = [_name(sample) for sample, row in zip(log.samples, rows, strict=True) if row["score"] is None]
    refuse_unscored(unscored, len(rows), f"{where}: scorer {scorer}")
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return task_samples(task, scorer, columns, _facets(log))


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
        "score": _score(_values(sample).get(scorer), scorer, f"{where}, sample {_name(sample)}"),
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
        "generation": canonical_json({name: value for name, value in settings.items() if value is not None}),
    }


def _name(sample: Any) -> str:
    return str(sample.id) if sample.epoch == 1 else f"{sample.id} (epoch {sample.epoch})"
