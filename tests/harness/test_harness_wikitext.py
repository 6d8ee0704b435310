"""lm-eval's wikitext: its perplexities in a run, as a text task, and in `gate compare` of logged samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.commands import run_gate
from support.evaluations import evaluate, opened
from support.jsonl import write_jsonl
from support.runs import gate_task

from gate.config import SampleSettings, TaskSettings
from gate.decision.behaviour import Behaviour, behaviour_of
from gate.samples import pair
from gate.store import as_samples
from gate.tasks import Task, build_task

pytest.importorskip("lm_eval")

PAGES = [
    f" = {title} = \n \n The {animal} sees a {colour} @-@ blue fish , and ( it ) runs for {number} @,@ 000 days . \n"
    * (1 + number % 4)
    for number, (title, animal, colour) in enumerate(
        [(f"Part {i}", a, c) for i in range(3) for a in ("cat", "dog") for c in ("red", "green")]
    )
]
PLAIN = ["The cat sees a red fish and eats it. " * (2 + number % 5) + f"It is number {number}." for number in range(12)]


Metrics = dict[str, dict[str, float]]  # by task: the perplexities of the whole text


def write_task(folder: Path, name: str, pages: list[str]) -> None:
    """Write lm-eval's own task on other pages."""
    import lm_eval

    own = Path(lm_eval.__file__).parent / "tasks" / "wikitext" / "wikitext.yaml"
    pages_file = write_jsonl(folder / f"{name}.jsonl", [{"page": page} for page in pages])
    content = {
        "include": str(own), "task": name, "dataset_path": "json", "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(pages_file)}}, "training_split": None, "validation_split": None,
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def lm_eval_run(folder: Path, model: Path, out: Path) -> Metrics:
    """Run both tasks as lm-eval's command does, with its files."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    results: Any = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "dtype": "float32"},
        tasks=["marked", "plain"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        device="cpu",
        batch_size=4,
        bootstrap_iters=0,
        log_samples=True,
    )
    samples = results.pop("samples")
    tracker = EvaluationTracker(output_path=str(out))
    tracker.general_config_tracker.model_name = tracker.general_config_tracker.model_name_sanitized = model.name
    tracker.save_results_aggregated(results=results, samples=samples)
    for name, logged in samples.items():
        tracker.save_results_samples(task_name=name, samples=logged)
    return {
        task: {name: metrics[f"{name},none"] for name in ("word_perplexity", "byte_perplexity")}
        for task, metrics in results["results"].items()
    }


def compared(*folders: Path) -> dict[str, Any]:
    return dict(json.loads(run_gate("compare", *folders, "--json", "-").out))


def behaviour(task: Task, models: tuple[Path, Path], folder: Path) -> Behaviour:
    """Return the behaviour of two models on a task that the gate evaluates."""
    baseline = evaluate(task, opened(models[0]), folder / "a")
    candidate = evaluate(task, opened(models[1]), folder / "b", baseline=baseline)
    (paired,) = pair(*(as_samples([each]) for each in (baseline, candidate))).tasks
    found = behaviour_of(paired)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def models(tiny_model: Path, other_tiny_model: Path) -> tuple[Path, Path]:
    return tiny_model, other_tiny_model


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, models: tuple[Path, Path]) -> tuple[Path, list[Metrics]]:
    folder = tmp_path_factory.mktemp("wikitext")
    write_task(folder, "marked", PAGES)
    write_task(folder, "plain", PLAIN)
    return folder, [lm_eval_run(folder, model, folder / f"run{number}") for number, model in enumerate(models)]


def test_compare_reports_lm_evals_perplexities_and_their_direction(logged: tuple[Path, list[Metrics]]) -> None:
    folder, expected = logged
    result = compared(folder / "run0", folder / "run1")
    for task in result["tasks"]:
        texts, theirs = task["behaviour"]["texts"], [one[task["task"]] for one in expected]
        for unit in ("word", "byte"):
            values = [one[f"{unit}_perplexity"] for one in theirs]
            assert texts[f"perplexity_per_{unit}"] == pytest.approx(values, rel=1e-6)
        assert (texts["tokens"], texts["perplexity"]) == (None, None)
        worse = theirs[1]["word_perplexity"] > theirs[0]["word_perplexity"]
        assert (texts["ratio"] > 1) == (task["drop"] > 0) == worse
        assert task["unit"] == "score"
    words = {task["task"]: task["behaviour"]["texts"]["words"] for task in result["tasks"]}
    assert words["marked"] == sum(len(page.split()) + 2 for page in PAGES)  # lm-eval counts the empty ends too
    back = compared(folder / "run1", folder / "run0")
    assert (result["verdict"], back["verdict"]) == ("FAIL", "PASS") if worse else ("PASS", "FAIL")


@pytest.mark.parametrize("name", ["marked", "plain"])
def test_a_run_of_wikitext_and_a_text_task_have_lm_evals_perplexities(
    logged: tuple[Path, list[Metrics]], models: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    """A text task reads pages without wikitext's marks, which lm-eval changes before it scores the text."""
    folder, runs = logged
    if name == "plain":
        settings = TaskSettings(name=name, kind="text", file="plain.jsonl", prompt="{{ page }}")
        task = build_task(settings, SampleSettings(), folder)
    else:
        task = gate_task(folder, name)
    texts = behaviour(task, models, tmp_path).texts
    assert texts is not None
    assert texts.tokens is not None
    assert texts.perplexity_per_word == pytest.approx([one[name]["word_perplexity"] for one in runs], rel=1e-4)
    assert texts.perplexity_per_byte == pytest.approx([one[name]["byte_perplexity"] for one in runs], rel=1e-4)
