"""Evaluations of a small task with a tiny real model, and what is compared of their sample sets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gate.config import EngineSettings, ModelSettings, SampleSettings, TaskSettings
from gate.engines import Engine, ModelIdentity, Runtime, fetch, identify, locate, open_engine
from gate.errors import EvaluationError
from gate.evaluation.evaluate import TaskEvaluation
from gate.store import SampleSet
from gate.tasks import Task, build_task
from support.tiny import TINY_TASK, write_tiny_task

CPU = EngineSettings(device="cpu")
Opened = tuple[Engine, ModelIdentity]


def opened(folder: Path) -> Opened:
    source = locate(ModelSettings(model=str(folder)), folder)
    return open_engine(fetch(source, CPU, folder, None), CPU), identify(source, CPU, folder)


def evaluate(
    task: Task,
    model: Opened,
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
    baseline: SampleSet | None = None,
    **options: Any,
) -> SampleSet:
    """Run a whole evaluation."""
    return TaskEvaluation(task, *model, folder, baseline, **options).run(progress)


def choice_task(folder: Path, **settings: Any) -> Task:
    """Write the 24 items of the tiny multiple-choice task and build it."""
    write_tiny_task(folder / "items.jsonl")
    return choice_task_of(folder, **settings)


def choice_task_of(folder: Path, samples: SampleSettings | None = None, **settings: Any) -> Task:
    """Build the multiple-choice task of the `items.jsonl` in a folder."""
    return build_task(TaskSettings(**{**TINY_TASK, **settings}), samples or SampleSettings(), folder)


def text_task(folder: Path, samples: SampleSettings | None = None, **settings: Any) -> Task:
    """Write the same 24 items and build a task that generates short texts."""
    write_tiny_task(folder / "items.jsonl")
    defaults = {
        "name": "say",
        "kind": "generate_until",
        "choices": None,
        "answer": "{{ [choices[gold], 'cat'] }}",
        "max_tokens": 4,
        "normalise": ["strip", "lower"],
        "cluster": "gold",
    }
    return choice_task_of(folder, samples, **{**defaults, **settings})


class OtherRuntime:
    """The same engine with another runtime, as on another machine or with another library version."""

    def __init__(self, engine: Engine, **changes: Any) -> None:
        self._engine = engine
        if "versions" in changes:
            changes["versions"] = {**engine.runtime.versions, **changes["versions"]}
        self.runtime: Runtime = dataclasses.replace(engine.runtime, **changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def content(folder: Path) -> dict[str, str]:
    """Hashes of everything in a set, except when it was made and how long it took."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("created", "timings", "settings"):
        del manifest[name]
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.parquet")}
    return {**files, "manifest": json.dumps(manifest, sort_keys=True)}


class StopError(Exception):
    """Interrupts an evaluation."""


class Attempt:
    """One evaluation, its messages and its reports of progress."""

    def __init__(
        self,
        task: Task,
        model: Opened,
        folder: Path,
        stop_at: int = 10**9,
        error: type[BaseException] = StopError,
        **options: Any,
    ) -> None:
        self.messages: list[str] = []
        self.steps: list[int] = []
        self.item_ids: list[str] = []
        self.sample_set: SampleSet | None = None
        self.error: BaseException | None = None

        def progress(count: int) -> None:
            self.steps.append(count)
            if sum(self.steps) > stop_at:
                raise error("stopped")

        try:
            if "baseline" in options:
                options["reference"] = options.pop("baseline")
            groups = options.pop("groups", None)
            evaluation = TaskEvaluation(task, *model, folder, message=self.messages.append, **options)
            steps = evaluation.steps(progress, groups)
            while True:
                self.item_ids += next(steps)["item_id"].to_pylist()
        except StopIteration as end:
            self.sample_set = end.value
        except (StopError, EvaluationError, KeyboardInterrupt) as caught:
            self.error = caught

    @property
    def resumed(self) -> int:
        """Number of resumed items: the first report of progress."""
        return self.steps[0]


def partial_folder(folder: Path) -> Path:
    """Return the only partial folder beside a set."""
    (path,) = folder.parent.glob(f".{folder.name}.partial-*")
    return path


def names(folder: Path) -> set[str]:
    """Return the names in a folder, except of lock files."""
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}
