"""The same task answered by gate's engine and by lm-eval's own model, document by document."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gate.config import SampleSettings, TaskSettings
from gate.engines import Engine
from gate.evaluation.answer import answer_items
from gate.tasks import Task, build_task

pytest.importorskip("lm_eval")
_CACHE = tempfile.TemporaryDirectory()  # keeps the cache of `datasets` out of the home folder
os.environ["HF_DATASETS_CACHE"] = _CACHE.name


def gate_task(folder: Path, name: str, samples: dict[str, Any] | None = None, **settings: Any) -> Task:
    """Build a registry task from the task files in a folder."""
    return build_task(TaskSettings(name=name, **settings), SampleSettings(**(samples or {})), folder, [folder])


def gate_rows(task: Task, engine: Engine) -> list[dict[str, Any]]:
    """Return gate's samples of a task, in order of the documents."""
    return answer_items(task, task.items, engine, lambda _: None, None).to_pylist()


def lm_eval_samples(
    folder: Path, names: Sequence[str], model: Any = "hf", model_folder: Path | None = None, **arguments: Any
) -> dict[str, list[dict[str, Any]]]:
    """Return the samples that `lm_eval.simple_evaluate` logs, by task and in order of documents and filters."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    results = lm_eval.simple_evaluate(
        model=model,
        model_args={"pretrained": str(model_folder), "dtype": "float32"} if isinstance(model, str) else None,
        tasks=list(names),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        device="cpu",
        batch_size=4,
        bootstrap_iters=0,
        log_samples=True,
        **arguments,
    )
    assert results is not None
    return dict(results["samples"])


def as_json(value: Any) -> Any:
    """Return a logged value as JSON stores it, with tuples as lists."""
    return json.loads(json.dumps(value))
