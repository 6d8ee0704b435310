"""Samples of Inspect (https://inspect.aisi.org.uk, MIT): `.eval` and `.json` logs, read by its own library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gate.canonical import canonical_json, digest
from gate.errors import SampleError
from gate.importers.build import number, refuse_unscored, source_files, task_samples
from gate.importers.choose import Choice, choose, explain, shorten
from gate.importers.detect import files_in
from gate.importers.jsonlines import clean_text
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
    """Read an Inspect log, or the logs of a folder (one model, a log a task), as one model's samples.

    `metric` names the scorer, or `scorer/key` where a scorer gives several values. Epoch k is repeat k - 1.

    Raises
    ------
    SampleError
        inspect-ai is not installed; a run that did not succeed; samples with an error or without a score; several
        scorers and none chosen. See also `read_foreign`.
    """
    library = _library()
    headers = {file: _read(library, file, header_only=True) for file in _files(path)}
    files, notes = _newest(path, headers)
    tasks: dict[str, TaskSamples] = {}
    choices: dict[str, Choice] = {}
    for task, file in files.items():
        log = _read(library, file, resolve_attachments="core", exclude_fields=set(_UNREAD))
        where = f"task {task} ({file.name})"
        _refuse_incomplete(log, where)
        choices[task] = choose(metric, _scorers(log.samples, where), (), what="metric", where=where)
        tasks[task] = _samples(task, log, choices[task].name, where)
    notes = [*explain("metric", metric, choices), *notes]
    about: dict[str, object] = {"format": "Inspect", "files": source_files(list(files.values()))}
    spec = headers[next(iter(files.values()))].eval
    about |= {"model": spec.model, "created": str(spec.created), "packages": dict(spec.packages or {})}
    return ModelSamples(path.stem if path.is_file() else path.name, tasks, about, tuple(notes))


def _library() -> Any:
    try:
        return importlib.import_module("inspect_ai.log")
    except ImportError as error:
        raise SampleError(
            f"Inspect logs are read with the package inspect-ai, which is not usable here: {error}.",
            'Install it: pip install "quantgate[inspect]"',
        ) from None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return files_in(path, (".eval",)) or files_in(path, (".json",))


def _read(library: Any, path: Path, **options: Any) -> Any:
    try:
        return library.read_eval_log(path, **options)
    except Exception as error:  # whatever zipfile, JSON or pydantic make of a broken file
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise SampleError(
            f"{path} is not a readable Inspect log: {reason}.",
            "Was it cut, or written by a newer inspect-ai? Try `inspect log dump FILE`.",
        ) from None


def _newest(path: Path, headers: Mapping[Path, Any]) -> tuple[dict[str, Path], list[str]]:
    """Return the newest log of each task; logs of several models cannot stand for one."""
    models = sorted({str(log.eval.model) for log in headers.values()})
    if len(models) > 1:
        raise SampleError(
            f"{path} holds logs of {len(models)} models: {shorten(models)}.", "Give one folder a model."
        )
    found: dict[str, list[Path]] = {}
    for file in sorted(headers, key=lambda file: (str(headers[file].eval.created), file.name)):
        found.setdefault(str(headers[file].eval.task), []).append(file)
    notes = []
    for task, files in found.items():
        arguments = {canonical_json(headers[file].eval.model_args) for file in files}
        if len(arguments) > 1:
            raise SampleError(
                f"{path}: the logs of {task} have different model arguments: {shorten(sorted(arguments))}.",
                "Move each run into a folder of its own.",
            )
        if len(files) > 1:
            notes.append(f"{task}: {len(files)} logs in the folder; read the newest, {files[-1].name}.")
    return {task: files[-1] for task, files in sorted(found.items())}, notes


def _refuse_incomplete(log: Any, where: str) -> None:
    samples = log.samples or []
    planned = log.results.total_samples if log.results else None
    if log.status != "success" or (planned is not None and planned != len(samples)):
        of = "" if planned is None else f" of {planned}"
        raise SampleError(
            f"{where}: the run is not complete: status {log.status!r}, {len(samples)}{of} samples logged.",
            "Finish it with `inspect eval-retry FILE`, and log every sample.",
        )
    if not samples:
        raise SampleError(f"{where}: the log has no samples.", "Run without --no-log-samples.")
    errors = [_name(sample) for sample in samples if sample.error is not None]
    refuse_unscored(len(errors), len(samples), errors, where, "ended with an error")
    invalid = [_name(sample) for sample in samples if getattr(sample, "invalidation", None) is not None]
    refuse_unscored(len(invalid), len(samples), invalid, where, "were marked invalid")


def _scorers(samples: Sequence[Any], where: str) -> list[str]:
    names: dict[str, None] = {}
    for sample in samples:
        names |= dict.fromkeys(_values(sample))
    if not names:
        refuse_unscored(len(samples), len(samples), [_name(sample) for sample in samples], where)
    return list(names)


def _values(sample: Any) -> dict[str, Any]:
    """Return the scores of a sample by scorer, or by scorer/key where the scorer gives several."""
    values: dict[str, Any] = {}
    for scorer, score in (sample.scores or {}).items():
        if isinstance(score.value, Mapping):
            values |= {f"{scorer}/{key}": value for key, value in score.value.items()}
        else:
            values[str(scorer)] = score.value
    return values


def _samples(task: str, log: Any, scorer: str, where: str) -> TaskSamples:
    names = ("item_id", "repeat", "score", "prompt_hash", "output", "target", "prompt", "choices")
    columns: dict[str, list[Any]] = {name: [] for name in (*names, "tokens_in", "tokens_out")}
    unscored = []
    for sample in log.samples:
        score = _score(_values(sample).get(scorer), scorer, f"{where}, sample {_name(sample)}")
        if score is None:
            unscored.append(_name(sample))
        entry = (sample.scores or {}).get(scorer) or (sample.scores or {}).get(scorer.split("/")[0])
        answer = entry.answer if entry is not None and entry.answer is not None else sample.output.completion
        target = sample.target
        if not isinstance(target, str):
            target = target[0] if len(target) == 1 else canonical_json(list(target))
        usage = list((sample.model_usage or {}).values())
        row = (
            str(sample.id),
            int(sample.epoch) - 1,
            score,
            digest([_asked(sample), sample.choices]),
            clean_text(answer),
            clean_text(target),
            clean_text(_question(sample)),
            [clean_text(choice) for choice in sample.choices] if sample.choices else None,
            sum(one.input_tokens for one in usage) if usage else None,
            sum(one.output_tokens for one in usage) if usage else None,
        )
        for name, value in zip(columns, row, strict=True):
            columns[name].append(value)
    refuse_unscored(len(unscored), len(log.samples), unscored, f"{where}: scorer {scorer}")
    return task_samples(task, scorer, columns, _facets(log))


def _score(value: object, scorer: str, where: str) -> float | None:
    if isinstance(value, str) and value in _GRADES:
        return _GRADES[value]
    try:
        return number(value)
    except ValueError as error:
        shown = repr(value) if isinstance(value, str) else error
        raise SampleError(
            f"{where}: the score of {scorer} is {shown}; expected C, I, P, N or a number.",
            "Choose another scorer with --metric NAME.",
        ) from None


def _asked(sample: Any) -> list[list[str]]:
    """Return role and text of what the model was given before it first answered."""
    asked = []
    for message in sample.messages or ():
        if message.role == "assistant" and getattr(message, "source", None) != "input":
            break
        asked.append([str(message.role), str(message.text)])
    return asked or [["user", _question(sample)]]


def _question(sample: Any) -> str:
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
