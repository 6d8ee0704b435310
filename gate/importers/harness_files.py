"""Which files of a folder belong to one run of LM Evaluation Harness, and what its results file says about the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.common.canonical import canonical_json
from gate.common.jsonlines import mapping, read_json
from gate.common.lm_eval import results_name, split_samples_name
from gate.errors import SampleError
from gate.importers.detect import harness_files
from gate.importers.files import LINES, files_in, shorten, subfolders

_MODEL = ("model", "model_args", "model_dtype")


@dataclass(frozen=True)
class TaskFile:
    """A samples file and the results file of the same run (empty if it is missing)."""

    path: Path
    task: str
    stamp: str
    results: Mapping[str, Any] = field(default_factory=dict)

    def of_task(self, key: str) -> Any:
        """Return the entry of this task in the results file's section `key`, or None."""
        return mapping(self.results.get(key)).get(self.task)

    def settings(self, key: str) -> Mapping[str, Any]:
        """Return the entry of this task in the results file's section `key` if it is a mapping, else an empty one."""
        return mapping(self.of_task(key))

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run; empty if the results file is missing."""
        return mapping(self.results.get("config"))

    @property
    def model(self) -> str | None:
        """The model and its arguments as JSON; None if the results file is missing."""
        return canonical_json([self.config.get(key) for key in _MODEL]) if self.config else None

    @property
    def description(self) -> str:
        """Time stamp, model and arguments, for messages."""
        arguments = self.config.get("model_args")
        shown = arguments if isinstance(arguments, str) else canonical_json(arguments)
        return f"{self.stamp} ({self.config.get('model')}: {shown})"


def find_task_files(path: Path) -> tuple[dict[str, TaskFile], list[str]]:
    """Return the samples file of each task, and notes on files that were not read.

    A folder holds one model: its `samples_*.jsonl` are in the folder itself, or in one subfolder named after the
    model. Of several runs of a task the newest is read, provided that their results files name the same model.

    Raises
    ------
    SampleError
        Several subfolders or several models.
    """
    runs: dict[str, list[TaskFile]] = {}
    results: dict[Path, Mapping[str, Any]] = {}
    for file in [path] if path.is_file() else _in_folder(path):
        task, stamp = split_samples_name(file.stem)
        beside = file.with_name(results_name(stamp))
        if beside not in results:
            results[beside] = read_json(beside) if beside.is_file() else {}
        runs.setdefault(task, []).append(TaskFile(file, task, stamp, results[beside]))
    newest: dict[str, TaskFile] = {}
    notes = []
    for task, candidates in sorted(runs.items()):
        candidates.sort(key=lambda run: run.stamp)
        _refuse_models(path, [(run.model, run) for run in candidates])
        newest[task] = candidates[-1]
        if len(candidates) > 1:
            notes.append(f"{task}: {len(candidates)} runs in the folder; read the newest, {newest[task].path.name}.")
    _refuse_models(path, [(run.results.get("model_name"), run) for run in newest.values()])
    known = [run for run in newest.values() if run.model is not None]
    if len({run.model for run in known}) > 1:
        descriptions = sorted({run.description for run in known})
        notes.append(f"The tasks were run with different model arguments: {shorten(descriptions)}.")
    return newest, notes


def _refuse_models(path: Path, runs: Sequence[tuple[object, TaskFile]]) -> None:
    """Raise SampleError if the models of runs differ; a model that is not a text is unknown."""
    by_model = {model: run for model, run in runs if isinstance(model, str)}
    if len(by_model) > 1:
        raise SampleError(
            f"{path} holds runs of several models, or of one model with different arguments: "
            f"{shorten(sorted(run.description for run in by_model.values()))}.",
            "Move each run (its results_*.json and samples_*.jsonl) into a folder of its own.",
        )


def _in_folder(folder: Path) -> Sequence[Path]:
    direct = harness_files(folder)
    if direct:
        return direct
    models = [subfolder for subfolder in subfolders(folder) if harness_files(subfolder)]
    if len(models) > 1:
        raise SampleError(
            f"{folder} holds the samples of {len(models)} models, one per subfolder: "
            f"{shorten([model.name for model in models])}.",
            "Pass one of the subfolders.",
        )
    return harness_files(models[0]) if models else files_in(folder, LINES)
