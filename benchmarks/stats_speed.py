"""Time and memory of the statistics in one process.

    python benchmarks/stats_speed.py

Prints one line per case: name, seconds, peak memory of the process so far, and the time limit.
"""

import resource
import sys
import time
from collections.abc import Callable

import numpy as np

from gate.stats import (
    Evidence,
    combine,
    decision_detectable_drop,
    decision_power,
    detectable_drop,
    fisher,
    mcnemar_exact,
    omnibus,
    required_n,
    sign_flip,
    tango_interval,
)


def measure(name: str, limit_s: float, work: Callable[[], object]) -> bool:
    """Run `work` once, print its time, and return whether it met the limit."""
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    met = seconds <= limit_s
    print(f"{name:62s} {seconds:7.3f} s  {memory:5.2f} GiB  limit {limit_s:g} s{'' if met else '  EXCEEDED'}")
    return met


def main() -> int:
    """Run all cases; return 1 if a limit was exceeded."""
    generator = np.random.default_rng(0)
    m = generator.integers(40, 200, 57)
    b = generator.binomial(m, 0.5)
    large_m = generator.integers(900_000, 1_000_000, 57)
    large_b = generator.binomial(large_m, 0.5)
    million = generator.standard_normal(1_000_000) + 0.001
    repeats = generator.choice([0, 0.25, -0.25, 0.5, -0.5, 1.0, -0.75], 10_000)
    mixed = [
        *(Evidence.from_counts(int(x), int(y), 1000) for x, y in zip(b[:17], (m - b)[:17], strict=True)),
        *(Evidence.from_differences(generator.standard_normal(5_000), rng=0) for _ in range(3)),
    ]
    met = [
        measure("omnibus, 57 tasks, 1,000,000 draws", 3, lambda: omnibus(b, m - b, rng=0)),
        measure(
            "omnibus, 57 tasks of a million flips, 1,000,000 draws",
            10,
            lambda: omnibus(large_b, large_m - large_b, rng=0),
        ),
        measure("fisher, 57 tasks", 2, lambda: fisher(b, m - b)),
        measure("sign_flip, 1,000,000 continuous differences, 10,000 draws", 10, lambda: sign_flip(million, rng=0)),
        measure("sign_flip, 10,000 means over 4 repeats (exact)", 1, lambda: sign_flip(repeats, rng=0)),
        measure("combine, 17 binary and 3 continuous tasks", 5, lambda: combine(mixed, rng=0)),
        measure(
            "mcnemar_exact, 57 tasks of a million flips",
            0.1,
            lambda: mcnemar_exact(large_b, large_m - large_b),
        ),
        measure("tango_interval, 57 tasks", 0.1, lambda: tango_interval(b, m - b, 1000)),
        measure("detectable_drop, 60,000 items", 1, lambda: detectable_drop(60_000, 0.09)),
        measure("required_n for 0.3 points at 9 % flips", 1, lambda: required_n(0.09, 0.003)),
        measure("decision_power, 6 tasks", 2, lambda: decision_power([1000] * 6, [0.08] * 6, [0.01] * 6, rng=0)),
        measure(
            "decision_detectable_drop, 20 tasks",
            4,
            lambda: decision_detectable_drop([50_000] * 20, [0.08] * 20, rng=0),
        ),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
