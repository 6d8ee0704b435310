"""The two engines that `engine_speed.py` compares, and the same task for both."""

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
from gate.evaluation.evaluate import TaskEvaluation
from gate.tasks import Task, build_task


def make_task(data: Path, name: str, items: int, shots: int, folder: Path) -> Task:
    """Build a quantgate task from BIG-bench items; the few-shot examples are at the end of the file."""
    lines = (data / "bigbench" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    for suffix, rows in (("items", lines[:items]), ("shots", lines[-6:])):
        (folder / f"{name}-{suffix}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
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
    """Write the same items and rendered prompts as a task of LM Evaluation Harness."""
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
    """The transformers engine of quantgate; can measure the time in the model itself."""

    def __init__(self, model: Path, dtype: str, device: str, tokens: int | str) -> None:
        settings = EngineSettings.model_validate({"device": device, "max_batch_tokens": tokens})
        source = locate(ModelSettings.model_validate({"model": str(model.resolve()), "dtype": dtype}), model)
        source = fetch(source, settings, model, None)
        engine = open_engine(source, settings)
        assert isinstance(engine, TransformersEngine)
        self.engine = engine
        self.identity: ModelIdentity = identify(source, settings, model)
        self.in_model = 0.0

    @contextmanager
    def measured(self, clock: Callable[[], float]) -> Iterator[None]:
        """Add the time of every forward pass, and of the log-softmax of its logits, to `in_model`."""
        model, read = self.engine.scorer.loaded.model, Positions.read

        def timed(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)  # the engine inspects the signature
            def call(*arguments: Any, **options: Any) -> Any:
                started = clock()
                try:
                    return function(*arguments, **options)
                finally:
                    self.in_model += clock() - started

            return call

        model.forward = timed(model.forward)
        Positions.read = timed(read)  # type: ignore[method-assign]
        try:
            yield
        finally:
            del model.forward
            Positions.read = read  # type: ignore[method-assign]

    def run(self, task: Task, _: Path) -> list[bool]:
        """Evaluate a task and write its samples; return whether each item is correct."""
        with tempfile.TemporaryDirectory() as folder:
            evaluation = TaskEvaluation(task, self.engine, self.identity, Path(folder) / "set")
            samples = evaluation.run(lambda _: None).read()
            correct = dict(
                zip(*(samples.table.column(name).to_pylist() for name in ("item_id", "correct")), strict=True)
            )
        return [correct[item.item_id] for item in task.items]


class Theirs:
    """The `hf` model of LM Evaluation Harness."""

    def __init__(self, model: Path, dtype: str, device: str, tokens: int) -> None:
        from lm_eval.models.huggingface import HFLM

        self.model = HFLM(pretrained=str(model), dtype=dtype, device=device, batch_size=1)
        self.tokens = tokens

    def run(self, task: Task, folder: Path) -> list[bool]:
        """Evaluate the task of the same name in `folder`; return whether each item is correct."""
        import lm_eval
        from lm_eval.tasks import TaskManager

        self.model.batch_size_per_gpu = max(1, self.tokens // self.longest(task))
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        result = lm_eval.simple_evaluate(
            self.model, tasks=[task.name], task_manager=manager, bootstrap_iters=0, log_samples=True
        )
        samples = sorted(result["samples"][task.name], key=lambda sample: sample["doc_id"])
        return [bool(sample["acc"]) for sample in samples]

    def longest(self, task: Task) -> int:
        """Return the number of tokens of the longest prompt with its choice."""
        texts = [f"{item.context} {choice}" for item in task.items for choice in item.choices]
        return max(map(len, self.model.tokenizer(texts)["input_ids"]))
