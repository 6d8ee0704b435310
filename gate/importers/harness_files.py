"""Which files of a folder belong to one run of LM Evaluation Harness, and what the run's summary says about them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.common.jsonlines import first_object, mapping
from gate.common.lm_eval import split_samples_name
from gate.errors import SampleError
from gate.importers.files import shorten, stem_of
from gate.importers.harness_summary import RunsIn, Summary, task_in
from gate.importers.reading import Reading

_MODEL_FOLDER = re.compile(r".+__.+")  # lm-eval's name for the folder of org/model


@dataclass(frozen=True)
class TaskFile:
    """A file with samples, its task by its name, and the summary of its run."""

    path: Path
    task: str
    stamp: str
    summary: Summary

    def of_task(self, section: str, task: str | None = None) -> Any:
        """Return the entry of a task (default: that of the file's name) in a section of the summary, or None."""
        return self.summary.of_task(section, task or self.task)

    def settings(self, section: str, task: str | None = None) -> Mapping[str, Any]:
        """Return the same if it is a mapping, else an empty one."""
        return mapping(self.of_task(section, task))

    @property
    def model_name(self) -> str | None:
        """The model's name by the summary, else by the folder; None if neither tells."""
        folder = self.path.resolve().parent.name
        is_model = _MODEL_FOLDER.fullmatch(folder) and folder != self.task
        return self.summary.model_name or (folder if is_model else None)


@dataclass(frozen=True)
class TaskFiles:
    """The files to read, one per task; the tasks that are not read; and remarks."""

    files: tuple[TaskFile, ...]
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def find_task_files(path: Path, paths: Sequence[Path], reading: Reading) -> TaskFiles:
    """Return the file of each task among `paths`, which were found at `path`.

    Of several runs of a task the newest is read, provided that they are of the same model.

    Raises
    ------
    SampleError
        The files are of several models.
    """
    runs_in = {folder: RunsIn.of(folder, paths) for folder in dict.fromkeys(file.parent for file in paths)}
    files = [_task_file(file, runs_in[file.parent]) for file in paths]
    chosen = files
    if reading.tasks and path.is_dir():
        chosen = [file for file in files if file.task in reading.tasks or _names_tasks(file.path)]
    unread = sorted({file.task for file in files if file not in chosen})
    left_out = [f"{file.path.name}: not a task that was asked for." for file in files if file not in chosen]
    _refuse_models(path, chosen)
    runs: dict[str, list[TaskFile]] = {}
    for file in chosen:
        runs.setdefault(file.task, []).append(file)
    newest, notes = [], []
    for task, candidates in sorted(runs.items()):
        candidates.sort(key=lambda run: (run.stamp, run.path))
        _refuse_unknown_runs(path, task, candidates)
        newest.append(candidates[-1])
        if len(candidates) > 1:
            notes.append(f"{task}: {len(candidates)} runs in the folder; read the newest, {candidates[-1].path.name}.")
            left_out += [f"{run.path.name}: an older run of {task}." for run in candidates[:-1]]
    return TaskFiles(tuple(newest), tuple(unread), tuple(notes), tuple(left_out))


def _task_file(file: Path, runs: RunsIn) -> TaskFile:
    stem = stem_of(file)
    task, stamp = split_samples_name(stem)
    summary = runs.summary_of(file, task, stamp)
    return TaskFile(file, task_in(stem if not stamp else task, task, summary) or task, stamp, summary)


def _names_tasks(file: Path) -> bool:
    """Return whether the rows of a file name their task."""
    try:
        return "task_name" in (first_object(file) or {})
    except SampleError:  # broken; it is refused if it is read
        return False


def _refuse_unknown_runs(path: Path, task: str, runs: Sequence[TaskFile]) -> None:
    """Raise SampleError if there are several runs of a task, and it is not known that they are of one model."""
    if len(runs) < 2 or len({run.path.read_bytes() for run in runs}) == 1:
        return
    unknown = [run for run in runs if run.summary.model is None and run.summary.model_name is None]
    folders = {run.path.parent for run in runs}
    if unknown:
        names = [str(run.path.relative_to(path)) if path.is_dir() else run.path.name for run in runs]
        raise SampleError(
            f"{path} holds {len(runs)} runs of {task}, and no summary beside them says that they are of one model: "
            f"{shorten(names)}.",
            "Pass one of the subfolders, or one file."
            if len(folders) > 1
            else "Pass one of the files, or move the others away.",
        )


def _refuse_models(path: Path, files: Sequence[TaskFile]) -> None:
    """Raise SampleError if the files are of several models."""
    names = sorted({file.model_name for file in files if file.model_name is not None})
    models = {file.summary.model: file for file in files if file.summary.model is not None}
    folders = _names(path, files)
    if len(names) < 2 and len(models) < 2:
        return
    hint = (
        "Pass one of the subfolders."
        if len(folders) > 1
        else ("Move each run (its summary and its samples) into a folder of its own.")
    )
    if len(models) > 1:
        raise SampleError(
            f"{path} holds runs of several models, or of one model with different arguments: "
            f"{shorten(sorted(file.summary.description for file in models.values()))}.",
            hint,
        )
    raise SampleError(f"{path} holds the samples of {len(names)} models: {shorten(names)}.", hint)


def _names(path: Path, files: Iterable[TaskFile]) -> set[str]:
    return {str(file.path.parent.relative_to(path)) for file in files} if path.is_dir() else set()
