"""Items per second of the gate with three engines on the same items: transformers, vLLM and llama.cpp, on a processor.

    python benchmarks/throughput.py --vllm PYTHON [--items 40] [--tasks 3] [--baseline DIR] [--only NAME ...]
        [--out benchmarks/results/throughput.md]

PYTHON is the interpreter of an environment with vLLM. Each row is one `gate evaluate` in a process of its own. All rows
have the same weights, those of SmolLM2-135M-Instruct: a folder, and for llama.cpp the same numbers in a GGUF file
(F32). Run it on an otherwise idle machine: about 4 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from make_formats import gguf
from served import LLAMA, vllm_engine, write_tasks

import gate
from gate.demo.models import find_gguf, write_baseline
from gate.store.sample_set import open_sets


@dataclass(frozen=True)
class Row:
    """One engine on all items. Times are in seconds; `rate` is items per second while items are answered."""

    name: str
    folder: Path
    whole: float
    ready: str
    rate: float
    tokens: int
    method: str
    load: float


def measure(name: str, folder: Path, config: dict[str, Any], model: dict[str, Any]) -> Row:
    """Evaluate a model once."""
    place = folder / re.sub("[^a-z0-9]+", "-", name.lower())
    place.mkdir()
    config = {"version": 1, "baseline": model, "candidate": model, **config}
    (place / "gate.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gate", "evaluate", "--out", "out"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name}:\n{done.stderr[-2000:]}")
    whole = time.monotonic() - began
    manifests = [each.manifest for each in open_sets(place / "out")]
    return Row(
        name,
        place / "out",
        whole,
        ready="".join(re.findall(r"is ready after (\d+) s", done.stderr)),
        rate=sum(each.items for each in manifests) / sum(each.timings.seconds for each in manifests),
        tokens=sum(each.timings.tokens_in + each.timings.tokens_out for each in manifests),
        method=manifests[0].model.versions["scoring"],
        load=os.getloadavg()[0],
    )


def report(rows: list[Row], items: int, tasks: int) -> str:
    """Return the Markdown of all rows. The flips of a row are those against the first row of its number format."""
    lines = [
        "# Items per second of three engines",
        "",
        f"`benchmarks/throughput.py`: multiple choice, SmolLM2-135M-Instruct, the first {items} items of {tasks} demo "
        f"tasks without examples, {os.cpu_count()} cores ({platform.machine()}). Each row is one `gate evaluate`.",
        "",
        "| Engine | Items/s | Whole command, s | Server ready after, s | Worse / better | Scoring | Load |",
        "|:--|--:|--:|--:|--:|:--|--:|",
    ]
    for row in rows:
        other = next(each for each in rows if each.name.endswith(row.name.split()[-1]))
        flips = ""
        if other is not row:
            result = gate.compare(other.folder, row.folder)
            flips = f"{sum(t.regressions for t in result.tasks)} / {sum(t.improvements for t in result.tasks)}"
        lines.append(
            f"| {row.name} | {row.rate:.1f} | {row.whole:.0f} | {row.ready} | {flips} | {row.method} | {row.load:.1f} |"
        )
    lines += [
        "",
        "Items/s counts the time in which items are answered, without loading. Flips are against transformers in the "
        f"same number format. Tokens of contexts and choices, first row: {rows[0].tokens:,}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all rows and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vllm", required=True)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        baseline = (arguments.baseline or folder / "baseline").resolve()
        if not baseline.exists():
            write_baseline(baseline)
        gguf("F32", "F32")(find_gguf(), folder / "gguf")
        shared = {"tasks": write_tasks(folder, arguments.tasks), "samples": {"limit": arguments.items}}
        here: dict[str, Any] = {"device": "cpu"}
        vllm = vllm_engine(arguments.vllm)
        threads = str(os.cpu_count())
        llama = {
            "kind": "served",
            "command": [sys.executable, str(LLAMA), "{model}", "{name}", "{port}", threads],
            "timeout": 900,
        }
        model = {"model": str(baseline)}
        plans = {
            "transformers, bfloat16": (here, {**model, "dtype": "bfloat16"}),
            "vLLM, bfloat16": (vllm, {**model, "dtype": "bfloat16"}),
            "transformers, float32": (here, {**model, "dtype": "float32"}),
            "llama.cpp, float32": (llama, {"model": str(folder / "gguf"), "gguf_file": "model.gguf"}),
        }
        rows = []
        for name, (engine, chosen) in plans.items():
            if not arguments.only or any(part in name for part in arguments.only):
                rows.append(measure(name, folder, {**shared, "engine": engine}, chosen))
                print(report(rows, arguments.items, arguments.tasks), flush=True)
        if arguments.out:
            arguments.out.write_text(report(rows, arguments.items, arguments.tasks), encoding="utf-8")


if __name__ == "__main__":
    main()
