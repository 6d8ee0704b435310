"""`gate compare` on large Parquet files, compared with the script that a user would write with pandas and scipy.

    python benchmarks/compare_speed.py [--sizes 10000 100000 1000000 10000000] [--out benchmarks/results]

Every figure is that of a whole process, including start-up: wall time (median of the runs) and peak memory. The
script only merges, tests every task exactly and applies Holm's correction. `gate compare` also checks targets and
prompts, runs the omnibus test, computes intervals and detectable drops, and prints the report.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TASKS = 20
PEER = """
import sys, pandas as pd
from scipy.stats import binomtest
a, b = (pd.read_parquet(path) for path in sys.argv[1:])
both = a.merge(b, on=["task", "item_id"], suffixes=("_a", "_b"), validate="one_to_one")
p = []
for task, rows in both.groupby("task"):
    worse = int((rows.correct_a & ~rows.correct_b).sum())
    better = int((~rows.correct_a & rows.correct_b).sum())
    p.append((binomtest(worse, worse + better, alternative="greater").pvalue, task))
p.sort()
print([(task, min(1, value * (len(p) - i))) for i, (value, task) in enumerate(p)][:1])
"""


def write_pair(folder: Path, items: int, seed: int = 0) -> tuple[Path, Path]:
    """Write baseline and candidate: 70 % right, 6 % of the items flip, rows in different orders."""
    generator = np.random.default_rng(seed)
    correct = generator.random(items) < 0.7
    flipped = generator.random(items) < 0.06
    output = generator.integers(0, 4, items)
    task = pa.array([f"task{k:02d}" for k in range(TASKS)]).take(pa.array(np.arange(items) * TASKS // items))
    names = pa.array([f"item-{k:08d}" for k in range(items)])
    paths = []
    for name, right, answer in (
        ("baseline", correct, output),
        ("candidate", correct ^ flipped, np.where(flipped, (output + 1) % 4, output)),
    ):
        table = pa.table(
            {
                "task": task,
                "item_id": names,
                "output": pa.array(answer.astype(str)),
                "target": pa.array(np.full(items, "1")),
                "correct": pa.array(right),
            }
        )
        if name == "candidate":
            table = table.take(pa.array(generator.permutation(items)))
        paths.append(folder / f"{name}.parquet")
        pq.write_table(table, paths[-1])
    return paths[0], paths[1]


def measure(command: list[str], runs: int) -> tuple[float, float]:
    """Return the median wall time in seconds and the peak memory in GiB of a command over several runs."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1 << 20)


def main() -> None:
    """Measure every size and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    lines = [
        "# gate compare on Parquet files with 20 tasks and rows in different orders",
        "",
        f"Whole processes, median of {options.runs} runs, 2 cores. Memory: peak of all runs of gate compare so far.",
        "",
        "| pairs | gate compare, s | peak, GiB | pandas + scipy, s | ratio |",
        "|--:|--:|--:|--:|--:|",
    ]
    gate = str(Path(sys.executable).with_name("gate"))
    for size in sorted(options.sizes):
        with tempfile.TemporaryDirectory() as name:
            a, b = map(str, write_pair(Path(name), size))
            ours, memory = measure([gate, "compare", a, b], options.runs)
            peer = subprocess.run(
                [sys.executable, "-c", _TIMED, str(options.runs), PEER, a, b],
                check=True,
                capture_output=True,
                text=True,
            )
            theirs = float(peer.stdout.split()[-1])
        lines.append(f"| {size:,} | {ours:.2f} | {memory:.2f} | {theirs:.2f} | {ours / theirs:.2f} |")
        print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    (options.out / "compare_speed.md").write_text(text, encoding="utf-8")
    print(text)


# the script runs as a grandchild process, so that its memory is not counted as that of gate compare
_TIMED = """
import statistics, subprocess, sys, time
seconds = []
for _ in range(int(sys.argv[1])):
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", *sys.argv[2:]], check=True, stdout=subprocess.DEVNULL)
    seconds.append(time.perf_counter() - started)
print(statistics.median(seconds))
"""

if __name__ == "__main__":
    main()
