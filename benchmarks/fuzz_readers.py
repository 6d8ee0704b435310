"""Damaged result files of every format: each ends in a valid result or in an error with a message, in bounded memory.

Made by `python benchmarks/fuzz_readers.py --mutations 20000 --seed 15 > benchmarks/results/fuzz_readers.md`.
"""

from __future__ import annotations

import argparse
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.mutations import Origin, mutate, origins, read_or_refuse

GIB = 1 << 30


def run(
    found: list[Origin], mutations: int, seed: int, folder: Path
) -> tuple[Counter[tuple[str, str]], dict[str, float]]:
    """Return how often each format was read, refused, or failed with anything else, and the longest time in seconds."""
    outcomes: Counter[tuple[str, str]] = Counter()
    longest: dict[str, float] = defaultdict(float)
    for number in range(mutations):
        origin = found[number % len(found)]
        rng = random.Random(f"{seed}-{number}")
        source = mutate(origin, folder / "run", rng)
        start = time.process_time()
        try:
            outcome = read_or_refuse(source, rng)
        except BaseException as error:  # what this study looks for
            outcome = "failed"
            print(
                f"{origin.tool}, mutation {seed}-{number}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr
            )
            traceback.print_exc(limit=-4)
        outcomes[origin.tool, outcome] += 1
        longest[origin.tool] = max(longest[origin.tool], time.process_time() - start)
        shutil.rmtree(folder / "run")
    return outcomes, longest


def main() -> int:
    """Print the study as Markdown; return 1 if any mutation failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--memory", type=float, default=1.0, help="Limit of the address space in GiB (`ulimit -v`).")
    options = parser.parse_args()
    limit = int(options.memory * GIB)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as folder:
        found = origins(Path(folder) / "valid")
        outcomes, longest = run(found, options.mutations, options.seed, Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    print("# Damaged files\n")
    print(
        f"{options.mutations:,} damaged result files, seed {options.seed}, address space limited to {options.memory:g} "
        f"GiB. Peak resident memory: {peak:.2f} GiB.\n"
    )
    print("| format | read | refused with a message | failed otherwise | longest, CPU seconds |")
    print("|---|---|---|---|---|")
    for tool in dict.fromkeys(origin.tool for origin in found):
        counts = [outcomes[tool, outcome] for outcome in ("read", "refused", "failed")]
        print(f"| {tool} | {counts[0]:,} | {counts[1]:,} | {counts[2]:,} | {longest[tool]:.2f} |")
    totals = [
        sum(count for (_, name), count in outcomes.items() if name == outcome)
        for outcome in ("read", "refused", "failed")
    ]
    print(f"| all | {totals[0]:,} | {totals[1]:,} | {totals[2]:,} | {max(longest.values()):.2f} |")
    return int(totals[2] > 0)


if __name__ == "__main__":
    sys.exit(main())
