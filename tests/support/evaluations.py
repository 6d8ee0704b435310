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
from gate.evaluation.evaluate import evaluation, finish
from gate.store import SampleSet
from gate.tasks import Task, build_task
from support.tiny import write_tiny_task

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
    return finish(evaluation(task, *model, folder, progress, baseline, **options))


def choice_task(folder: Path, **settings: Any) -> Task:
    """Write the 24 items of the tiny multiple-choice task and build it."""
    write_tiny_task(folder / "items.jsonl")
    return choice_task_of(folder, **settings)


def choice_task_of(folder: Path, samples: SampleSettings | None = None, **settings: Any) -> Task:
    """Build the multiple-choice task of the `items.jsonl` in a folder."""
    defaults = {
        "name": "animals",
        "file": "items.jsonl",
        "prompt": "Q: {{ question }}\nA:",
        "choices": "{{ choices }}",
        "answer": "{{ gold }}",
    }
    return build_task(TaskSettings(**{**defaults, **settings}), samples or SampleSettings(), folder)


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
