"""Which files of a folder are one run of LM Evaluation Harness, and what its results file says of the run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.canonical import canonical_json
from gate.errors import SampleError
from gate.importers.choose import shorten
from gate.importers.detect import LINES, files_in, harness_files, subfolders
from gate.importers.jsonlines import read_json

_STAMP = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)$")
_MODEL = ("model", "model_args", "model_dtype")


@dataclass(frozen=True)
class TaskFile:
    """A samples file, and the results file of the same run (empty where there is none)."""

    path: Path
    task: str
    stamp: str
    results: Mapping[str, Any] = field(default_factory=dict)

    def of_task(self, key: str) -> Any:
        """Return what the results file says under `key` of this task, or None."""
        section = self.results.get(key)
        return section.get(self.task) if isinstance(section, Mapping) else None

    def settings(self, key: str) -> Mapping[str, Any]:
        """Return what the results file maps under `key` for this task; empty where it says nothing."""
        found = self.of_task(key)
        return found if isinstance(found, Mapping) else {}

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run; empty where the results file is missing."""
        config = self.results.get("config")
        return config if isinstance(config, Mapping) else {}

    @property
    def model(self) -> str | None:
        """The model and its arguments as one text; None where the results file is missing."""
        return canonical_json([self.config.get(key) for key in _MODEL]) if self.config else None


def find_task_files(path: Path) -> tuple[dict[str, TaskFile], list[str]]:
    """Return the file of each task, and notes on the files that were left out.

    A folder holds one model: `samples_*.jsonl` directly, or in one subfolder named after the model. Of several runs
    of a task the newest is taken, provided that their results files name the same model.

    Raises
    ------
    SampleError
        Several subfolders or several models, so that nothing tells which is meant.
    """
    files = [path] if path.is_file() else _in_folder(path)
    found: dict[str, list[TaskFile]] = {}
    results: dict[Path, Mapping[str, Any]] = {}
    for file in files:
        name = file.stem.removeprefix("samples_")
        match = _STAMP.search(name)
        stamp = match.group(1) if match else ""
        beside = file.with_name(f"results_{stamp}.json" if stamp else "results.json")
        if beside not in results:
            results[beside] = read_json(beside) if beside.is_file() else {}
        task = name[: match.start()] if match else name
        found.setdefault(task, []).append(TaskFile(file, task, stamp, results[beside]))
    chosen: dict[str, TaskFile] = {}
    notes = []
    for task, runs in sorted(found.items()):
        runs.sort(key=lambda run: run.stamp)
        _one_model(path, runs, "model")
        chosen[task] = runs[-1]
        if len(runs) > 1:
            notes.append(f"{task}: {len(runs)} runs in the folder; read the newest, {runs[-1].path.name}.")
    _one_model(path, list(chosen.values()), "model_name")
    arguments = sorted({_described(run) for run in chosen.values() if run.model is not None})
    if len({run.model for run in chosen.values()} - {None}) > 1:
        notes.append(f"The tasks were run with different model arguments: {shorten(arguments)}.")
    return chosen, notes


def _one_model(path: Path, runs: Sequence[TaskFile], identity: str) -> None:
    of_model: dict[str, TaskFile] = {}
    for run in runs:
        name = run.model if identity == "model" else run.results.get("model_name")
        if isinstance(name, str):
            of_model[name] = run
    if len(of_model) > 1:
        shown = shorten(sorted(_described(run) for run in of_model.values()))
        raise SampleError(
            f"{path} holds runs of several models, or of one model with different arguments: {shown}.",
            "Move each run (its results_*.json and samples_*.jsonl) into a folder of its own.",
        )


def _in_folder(folder: Path) -> list[Path]:
    direct = harness_files(folder)
    if direct:
        return direct
    places = [place for place in subfolders(folder) if harness_files(place)]
    if len(places) > 1:
        raise SampleError(
            f"{folder} holds the samples of {len(places)} models, one a subfolder: "
            f"{shorten([place.name for place in places])}.",
            "Give one of the subfolders.",
        )
    return harness_files(places[0]) if places else files_in(folder, LINES)


def _described(run: TaskFile) -> str:
    arguments = run.config.get("model_args")
    shown = arguments if isinstance(arguments, str) else canonical_json(arguments)
    return f"{run.stamp} ({run.config.get('model')}: {shown})"
