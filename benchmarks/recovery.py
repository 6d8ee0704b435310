"""Coverage of the recovery's interval: how often Fieller's 90 % interval holds the true ratio, for binary items.

Made by `python benchmarks/recovery.py --runs 2000 --seed 1 > benchmarks/results/recovery.md`.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np

from gate.stats import recovery

SIZES, ACCURACIES = (50, 200, 1000), (0.3, 0.6, 0.9)
FLIPS, RATIOS = (0.01, 0.05, 0.15), (1.0, 0.98, 0.9)


def misses(n: int, shares: list[float], ratio: float, runs: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return how often the interval lies above and below the true ratio.

    `shares` are the probabilities of an item to be lost, gained, right on both sides and wrong on both sides.
    """
    above = below = counted = 0
    for counts in rng.multinomial(n, shares, runs):
        baseline = np.repeat([1.0, 0.0, 1.0, 0.0], counts)
        if not baseline.any():
            continue
        low, high = recovery(baseline, np.repeat([0.0, 1.0, 1.0, 0.0], counts)).ci
        counted += 1
        above += low > ratio
        below += high < ratio
    return above / counted, below / counted


def main() -> None:
    """Print the study as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    rows = []
    for n, accuracy, noise, ratio in itertools.product(SIZES, ACCURACIES, FLIPS, RATIOS):
        gained = noise / 2
        lost = gained + accuracy * (1 - ratio)
        if lost > accuracy or gained > 1 - accuracy:
            continue
        shares = [lost, gained, accuracy - lost, 1 - accuracy - gained]
        above, below = misses(n, shares, ratio, options.runs, rng)
        rows.append((n, accuracy, noise, ratio, 1 - above - below, above, below))
    covered = [row[4] for row in rows]
    print("# Coverage of the recovery's interval\n")
    print(
        f"Made by `python benchmarks/recovery.py --runs {options.runs} --seed {options.seed}`. Nominal: 0.9, and 0.05"
    )
    print("on each side. Items are independent and right or wrong; flips without a drop are split evenly.\n")
    print(f"Coverage: {min(covered):.3f} to {max(covered):.3f}.\n")
    print("| items | baseline's accuracy | flips without a drop | true recovery | coverage | above | below |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for n, accuracy, noise, ratio, coverage, above, below in rows:
        print(f"| {n} | {accuracy} | {noise} | {ratio} | {coverage:.3f} | {above:.3f} | {below:.3f} |")


if __name__ == "__main__":
    main()
