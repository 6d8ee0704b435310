"""The same task answered by lm-eval's own model and by ours, document by document."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gate.config import EngineSettings, ModelSettings, SampleSettings, TaskSettings
from gate.engines import Engine, fetch, locate, open_engine
from gate.evaluation.answer import answer_items
from gate.tasks import Task, build_task

pytest.importorskip("lm_eval")
_CACHE = tempfile.TemporaryDirectory()  # what `datasets` makes of the files stays out of the home folder
os.environ["HF_DATASETS_CACHE"] = _CACHE.name


def opened(folder: Path) -> Engine:
    source = locate(ModelSettings(model=str(folder), dtype="float32"), folder)
    settings = EngineSettings(device="cpu")
    return open_engine(fetch(source, settings, folder, None), settings)


def our_task(folder: Path, name: str, samples: dict[str, Any] | None = None, **settings: Any) -> Task:
    return build_task(
        TaskSettings(name=name, **settings), SampleSettings(**(samples or {})), folder, [folder]
    )


def our_rows(task: Task, engine: Engine) -> list[dict[str, Any]]:
    return answer_items(task, task.items, engine, lambda _: None, None).to_pylist()


def their_samples(
    folder: Path, names: Sequence[str], model: Any = "hf", model_folder: Path | None = None, **arguments: Any
) -> dict[str, list[dict[str, Any]]]:
    """Return what `lm_eval.simple_evaluate` logs, by task and in order of the documents (and filters)."""
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


def plain(value: Any) -> Any:
    """Return a logged value with tuples as lists, as its JSON would have it."""
    return json.loads(json.dumps(value))
