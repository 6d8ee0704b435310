"""KL divergence measured through a real vLLM on a processor, compared with transformers, item by item.

    python benchmarks/kl_vllm.py WORK --vllm PYTHON [--items 200] [--out benchmarks/results]

PYTHON is the interpreter of an environment with vLLM. The candidates are SmolLM2-135M-Instruct rounded to 8 bits (one
scale per row) and to 3 bits (groups of 16), in float32. Each answers the first `--items` items of a task of the demo:
in transformers, in vLLM against the baseline's distributions from transformers, and in vLLM against the baseline in
vLLM, which lists its likeliest tokens only. WORK keeps the answers, so that an interrupted run resumes. Replaces a
section of kl_topk.md.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from behaviour_study import write_rounded
from kl_topk import write_section

import gate
from gate.app.answers import evaluate_baseline
from gate.app.reporter import SilentReporter
from gate.config import ModelSettings, load_config
from gate.demo.models import write_baseline
from gate.demo.suite import write_suite

CANDIDATES = {"int8": (8, None), "damaged": (3, 16)}
TITLE = "A real vLLM"
TASK = "us_cities"


def write_config(work: Path, name: str, engine: dict[str, Any], items: int) -> Path:
    """Write the gate.yml of a baseline in one engine; return its path."""
    task = next(task for task in write_suite(work / "suite") if task.name == TASK)
    model = {"model": str(work / "baseline"), "dtype": "float32"}
    config = {
        "version": 1,
        "baseline": {**model, "engine": engine},
        "candidate": model,
        "engine": {"kind": "transformers", "device": "cpu"},
        "tasks": [
            {
                "name": task.name,
                "file": str(task.file),
                "prompt": "{{ question }}",
                "choices": "{{ choices }}",
                "answer": "{{ gold }}",
            }
        ],
        "samples": {"limit": items, "store": str(work / f"store-{name}")},
    }
    path = work / f"{name}.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def evaluate(config: Path, model: Path, engine: dict[str, Any], out: Path) -> dict[str, np.ndarray]:
    """Return the divergences at the first tokens and their variances, in the order of the item ids."""
    if out.exists():
        samples = gate.load_samples(out)
    else:
        settings = {"model": str(model), "dtype": "float32", "engine": engine}
        samples = gate.evaluate(config, ModelSettings.model_validate(settings), out=out, kl=True)
    frame = samples.tasks[TASK].to_pandas().sort_values("item_id")
    return {name: frame[name].to_numpy(np.float64, na_value=np.nan) for name in ("kl", "kl_variance", "score")}


def row(name: str, where: str, found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> str:
    """Return a row of the table."""
    kl, base = found["kl"], reference["kl"]
    difference = kl - base
    bound = np.isnan(found["kl_variance"]).any()
    error = "lower bound" if bound else f"{np.sqrt(found['kl_variance'].sum()) / len(kl):.1e}"
    paired = difference.std(ddof=1) / np.sqrt(len(kl))
    changed = int((found["score"] != reference["score"]).sum())
    return (
        f"| {name} | {where} | {kl.mean():.6f} | {error} | {difference.mean():+.1e} ({paired:.0e}) | "
        f"{kl.mean() / base.mean() - 1:+.2%} | {np.abs(difference).max():.1e} | {changed} |"
    )


def main() -> None:
    """Evaluate what is missing in WORK and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--vllm", required=True)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "baseline").exists():
        write_baseline(work / "baseline")
    for name, (bits, group) in CANDIDATES.items():
        if not (work / name).exists():
            write_rounded(work / "baseline", work / name, bits, group)
    here: dict[str, Any] = {"kind": "transformers"}
    there: dict[str, Any] = {
        "kind": "served",
        "preset": "vllm",
        "python": options.vllm,
        "args": ["--enforce-eager", "--max-model-len", "1024"],
        "env": {"VLLM_CPU_KVCACHE_SPACE": 1, "OMP_NUM_THREADS": 1, "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
        "timeout": 1200,
    }
    configs = {}
    for name, engine in (("transformers", here), ("vLLM", there)):
        configs[name] = write_config(work, name, engine, options.items)
    rows: list[str] = []
    reference: dict[str, dict[str, np.ndarray]] = {}
    for stored, engine in (("transformers", here), ("transformers", there), ("vLLM", there)):
        evaluate_baseline(load_config(configs[stored]), SilentReporter())
        for name in CANDIDATES:
            used = "transformers" if engine is here else "vLLM"
            found = evaluate(configs[stored], work / name, engine, work / f"{name} {used} {stored}")
            reference.setdefault(name, found)
            rows.append(row(name, f"{used}, baseline in {stored}", found, reference[name]))
            print(rows[-1], flush=True)
            write_section(options.out / "kl_topk.md", TITLE, [*head(options.items), *rows])


def head(items: int) -> list[str]:
    """Return the text above the rows, and the head of the table."""
    return [
        f"The first {items} items of the demo's task {TASK}, KL divergence at the first token of answers, k = 64 and",
        "m = 16, float32, vLLM on a processor. int8: 8 bits, one scale per row; damaged: 3 bits, groups of 16.",
        "`difference`: mean over items of the difference from transformers (its standard error), the same relative",
        "to the mean, and the largest of an item. `changed`: items scored differently. Written by",
        "`python benchmarks/kl_vllm.py`.",
        "",
        "| candidate | evaluated in | mean KL, nats | standard error | difference | relative | largest | changed |",
        "|---|---|---|---|---|---|---|---|",
    ]


if __name__ == "__main__":
    main()
