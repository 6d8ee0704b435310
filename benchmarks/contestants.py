"""The two engines that `engine_speed.py` compares, and the same task for each."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from gate.config import EngineSettings, ModelSettings, SampleSettings, TaskSettings
from gate.engines import ModelIdentity, fetch, identify, locate, open_engine
from gate.engines.hf.engine import TransformersEngine
from gate.engines.hf.scoring.positions import Positions
from gate.evaluation.evaluate import evaluation, finish
from gate.tasks import Task, build_task


def make_task(data: Path, name: str, items: int, shots: int, folder: Path) -> Task:
    """Build one of our tasks from BIG-bench questions; the examples come from the file's end."""
    lines = (data / "bigbench" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    for part, some in (("items", lines[:items]), ("shots", lines[-6:])):
        (folder / f"{name}-{part}.jsonl").write_text("\n".join(some) + "\n", encoding="utf-8")
    values = {
        "name": f"{name}-{shots}shot",
        "file": f"{name}-items.jsonl",
        "prompt": "Question: {{ question }}\nAnswer:",
        "choices": "{{ choices }}",
        "answer": "{{ gold }}",
        "fewshot": shots,
        "fewshot_file": f"{name}-shots.jsonl" if shots else None,
    }
    return build_task(TaskSettings.model_validate(values), SampleSettings(), folder)


def write_harness_task(task: Task, folder: Path) -> None:
    """Write the same items as a task of LM Evaluation Harness: contexts as we rendered them."""
    rows = [{"context": i.context, "choices": list(i.choices), "gold": i.target_index} for i in task.items]
    path = folder / f"{task.name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {
        "task": task.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "context",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}],
    }
    (folder / f"{task.name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


class Ours:
    """Our engine over a model folder; notes how long the model itself runs."""

    def __init__(self, model: Path, dtype: str, device: str, tokens: int) -> None:
        engine = EngineSettings.model_validate({"device": device, "max_batch_tokens": tokens})
        source = locate(ModelSettings.model_validate({"model": str(model), "dtype": dtype}), model)
        source = fetch(source, engine, model, None)
        opened = open_engine(source, engine)
        assert isinstance(opened, TransformersEngine)
        self.engine = opened
        self.identity: ModelIdentity = identify(source, engine, model)
        self.in_model = 0.0

    @contextmanager
    def noting(self, clock: Callable[[], float]) -> Iterator[None]:
        """Add the time of every forward pass, and of the log-softmax of its logits, to `in_model`."""
        model, read = self.engine.scorer.model, Positions.read
        own = model.forward

        def timed(work: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(work)  # the engine looks at the signature
            def call(*given: Any, **named: Any) -> Any:
                began = clock()
                try:
                    return work(*given, **named)
                finally:
                    self.in_model += clock() - began

            return call

        model.forward = timed(own)
        Positions.read = timed(read)  # type: ignore[method-assign]
        try:
            yield
        finally:
            del model.forward
            Positions.read = read  # type: ignore[method-assign]

    def run(self, task: Task, _: Path) -> list[bool]:
        """Answer a task and write its samples; return which items are right."""
        with tempfile.TemporaryDirectory() as folder:
            steps = evaluation(task, self.engine, self.identity, Path(folder) / "set", lambda _: None)
            found = finish(steps).read()
            right = dict(
                zip(*(found.table.column(name).to_pylist() for name in ("item_id", "correct")), strict=True)
            )
        return [right[item.item_id] for item in task.items]


class Theirs:
    """LM Evaluation Harness's `hf` model over the same folder."""

    def __init__(self, model: Path, dtype: str, device: str, tokens: int) -> None:
        from lm_eval.models.huggingface import HFLM

        self.model = HFLM(pretrained=str(model), dtype=dtype, device=device, batch_size=1)
        self.tokens = tokens

    def run(self, task: Task, folder: Path) -> list[bool]:
        """Answer the task of that name in `folder`; return which items are right."""
        import lm_eval
        from lm_eval.tasks import TaskManager

        self.model.batch_size_per_gpu = max(1, self.tokens // self.longest(task))
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        result = lm_eval.simple_evaluate(
            self.model, tasks=[task.name], task_manager=manager, bootstrap_iters=0, log_samples=True
        )
        samples = sorted(result["samples"][task.name], key=lambda one: one["doc_id"])
        return [bool(one["acc"]) for one in samples]

    def longest(self, task: Task) -> int:
        """Return the tokens of the longest prompt with its choice."""
        texts = [f"{item.context} {choice}" for item in task.items for choice in item.choices]
        return max(map(len, self.model.tokenizer(texts)["input_ids"]))
