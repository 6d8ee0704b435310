"""The verdicts for real models on BIG-bench tasks, and the agreement of scores with LM Evaluation Harness.

    python benchmarks/real_models.py DATA [--models gate-demo/models] [--items 400] [--out benchmarks/results]

DATA is a folder with social_iqa, step_inference and goal_inference as JSONL files with question, choices and gold. The
models are those of `gate demo`. The table is printed and written to real_models.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import yaml

from gate.app.answers import evaluate_baseline
from gate.app.run import run
from gate.cli.console import Terminal
from gate.config import load_config
from gate.demo.setup import native_bfloat16
from gate.store import open_set

TASKS = ("social_iqa", "step_inference", "goal_inference")
PROMPT = "Q: {{ question }}\nA:"


def write_config(folder: Path, data: Path, models: Path, candidate: str, items: int, dtype: str) -> Path:
    """Write a gate.yml for one candidate; the lossless candidate is the baseline at another batch size."""
    settings: dict[str, object] = {"model": str(models / candidate), "dtype": dtype}
    if candidate == "baseline":
        settings["engine"] = {"max_batch_tokens": 384}
    tasks = [
        {
            "name": name,
            "file": str(data / f"{name}.jsonl"),
            "prompt": PROMPT,
            "choices": "{{ choices }}",
            "answer": "{{ gold }}",
        }
        for name in TASKS
    ]
    path = folder / f"{candidate}.yml"
    path.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "baseline": {"model": str(models / "baseline"), "dtype": dtype},
                "candidate": settings,
                "tasks": tasks,
                "samples": {"limit": items},
                "report": {"markdown": None, "json": None},
            }
        ),
        encoding="utf-8",
    )
    return path


def lm_eval_correct(data: Path, model: Path, items: int, folder: Path) -> dict[str, list[bool]]:
    """Return lm-eval's `acc` of every sample in float32, in the order of the file."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    for name in TASKS:
        lines = (data / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:items]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        task = {
            "task": f"agree_{name}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(folder / f"{name}.jsonl")}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": PROMPT,
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "gold",
            "metric_list": [{"metric": "acc"}],
        }
        (folder / f"agree_{name}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    results = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=8),
        tasks=[f"agree_{name}" for name in TASKS],
        task_manager=TaskManager(include_path=str(folder)),
        log_samples=True,
        bootstrap_iters=0,
    )
    return {
        name: [bool(row["acc"]) for row in sorted(results["samples"][f"agree_{name}"], key=lambda row: row["doc_id"])]
        for name in TASKS
    }


def main() -> None:
    """Gate both candidates, compare scores with lm-eval, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, default=Path("gate-demo/models"))
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--agree", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    dtype = "bfloat16" if native_bfloat16() else "float32"
    terminal = Terminal()
    lines = [
        "# Real models on BIG-bench tasks",
        "",
        f"SmolLM2-135M-Instruct in {dtype}, {options.items} items per task, 2 CPU threads. Cells show (regressions, "
        "improvements).",
        "",
        f"| candidate | {' | '.join(TASKS)} | omnibus p | verdict | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    data, models = options.data.resolve(), options.models.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for candidate in ("baseline", "damaged"):
            started = time.monotonic()
            path = write_config(folder, data, models, candidate, options.items, dtype)
            result = run(path)
            counts = " | ".join(f"({task.regressions}, {task.improvements})" for task in result.tasks)
            label = "lossless" if candidate == "baseline" else candidate
            seconds = time.monotonic() - started
            lines.append(f"| {label} | {counts} | {result.p_value:.3g} | {result.verdict} | {seconds:.0f} |")
        if options.agree:
            path = write_config(folder, data, models, "baseline", options.agree, "float32")
            sets = evaluate_baseline(load_config(path), terminal)
            ours = {
                samples.manifest.task: open_set(samples.folder).read().table.column("correct").to_pylist()
                for samples in sets
            }
            theirs = lm_eval_correct(data, models / "baseline", options.agree, folder)
            agreement = ", ".join(
                f"{task} {sum(a == b for a, b in zip(ours[task], theirs[task], strict=True))}/{options.agree}"
                for task in TASKS
            )
            lines += [
                "",
                f"Samples with the same `acc` as in LM Evaluation Harness, in float32: {agreement}.",
            ]
    text = "\n".join(lines) + "\n"
    print(text)
    (options.out / "real_models.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
