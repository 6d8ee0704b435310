"""Start-up of the commands that need no model, and where the time of `gate compare` goes.

    python benchmarks/startup.py [--runs 7] [--out benchmarks/results]

Every figure is a whole process on a small pair of CSV files, in wall seconds. The profile lists the modules whose own
import takes longest (`python -X importtime`).
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ITEMS = 200
SHOWN = 12


def write_pair(folder: Path) -> tuple[str, str]:
    """Write a baseline and a candidate of 200 items."""
    generator = np.random.default_rng(0)
    right = generator.random(ITEMS) < 0.7
    paths = []
    for name, correct in (("a", right), ("b", right ^ (generator.random(ITEMS) < 0.05))):
        rows = "".join(f"faq,{item},x,x,{int(value)}\n" for item, value in enumerate(correct))
        path = folder / f"{name}.csv"
        path.write_text("task,item_id,output,target,correct\n" + rows, encoding="utf-8")
        paths.append(str(path))
    return paths[0], paths[1]


def seconds(command: list[str], runs: int) -> list[float]:
    """Return the wall time of each run, after one that warms the file cache."""
    taken = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, check=False)
        taken.append(time.perf_counter() - started)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()}")
    return taken[1:]


def import_profile(command: list[str]) -> list[tuple[float, str]]:
    """Return the modules of a process by their own import time (seconds), longest first."""
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=False)
    found = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)$", done.stderr, re.MULTILINE)
    return sorted(((int(own) / 1e6, name) for own, name in found), reverse=True)


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    gate = [sys.executable, "-m", "gate"]
    with tempfile.TemporaryDirectory() as folder:
        pair = write_pair(Path(folder))
        commands = {
            "`gate --help`": ["--help"],
            "`gate compare --help`": ["compare", "--help"],
            "`gate compare a.csv b.csv`": ["compare", *pair],
            "`gate plan --n 1000 --flip-rate 0.05`": ["plan", "--n", "1000", "--flip-rate", "0.05"],
        }
        lines = [
            "# Start-up",
            "",
            f"Whole processes, {options.runs} runs each, {ITEMS} pairs.",
            "",
            "| command | median, s | fastest, s |",
            "|:--|--:|--:|",
        ]
        for name, words in commands.items():
            taken = seconds([*gate, *words], options.runs)
            lines.append(f"| {name} | {statistics.median(taken):.2f} | {min(taken):.2f} |")
        profile = import_profile(["-m", "gate", "compare", *pair])
    total = sum(own for own, _ in profile)
    lines += [
        "",
        f"Imports of `gate compare`: {total:.2f} s under the profiler, which slows them. The longest:",
        "",
        "| module | own import time, s |",
        "|:--|--:|",
        *(f"| {name} | {own:.3f} |" for own, name in profile[:SHOWN]),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "startup.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
