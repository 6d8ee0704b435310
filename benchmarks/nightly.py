"""A simulated year of nightly runs: false alarms and detection under each policy for a series.

    python benchmarks/nightly.py             # about two minutes on one core
    python benchmarks/nightly.py --years 500 # a quick look

Writes nightly.md to benchmarks/results. Each night a new candidate answers 2,500 items against one stored baseline; 200
answers flip. The regressions are 100 + z sqrt(50), rounded. z is standard normal, with a correlation between nights
that comes from the noise of the stored baseline. A drop of d points adds 12.5 d regressions and removes as many
improvements.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from gate.stats import alarm_level, log_e_value, lord_levels

NIGHTS, FLIPS, ITEMS, ALPHA, START = 365, 200, 2500, 0.05, 100
Alarms = NDArray[np.bool_]
Counts = NDArray[np.int64]
_B = np.arange(FLIPS + 1)
P_VALUES = binom.sf(_B - 1, FLIPS, 0.5)
E_VALUES = np.exp(log_e_value(_B, FLIPS - _B))


def regressions(years: int, correlation: float, points: float, seed: list[int]) -> Counts:
    """Return the regressions of every night, shape (years, nights); the drop starts on night START."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(years, 1))
    z = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * generator.normal(size=(years, NIGHTS))
    drop = np.where(np.arange(NIGHTS) >= START, points / 100 * ITEMS, 0.0)
    return np.clip(np.rint(FLIPS / 2 + z * math.sqrt(FLIPS) / 2 + drop / 2), 0, FLIPS).astype(np.int64)


def every_night(b: Counts) -> Alarms:
    """Test at ALPHA every night."""
    return P_VALUES[b] <= ALPHA


def yearly(b: Counts) -> Alarms:
    """One expected false alarm per year."""
    return P_VALUES[b] <= alarm_level(1, NIGHTS)


def lord(b: Counts) -> Alarms:
    """LORD++."""
    return np.array([p <= lord_levels(p, ALPHA)[:-1] for p in P_VALUES[b]])


def evalue(b: Counts) -> Alarms:
    """Sum of the e-values over the planned nights; afresh after an alarm."""
    alarms, total = np.zeros(b.shape, dtype=np.bool_), np.zeros(len(b))
    for night in range(NIGHTS):
        total += E_VALUES[b[:, night]] / NIGHTS
        alarms[:, night] = total >= 1 / ALPHA
        total[alarms[:, night]] = 0.0
    return alarms


def evalue_fresh(b: Counts) -> Alarms:
    """Mixture of the products from every start, for fresh items every night; afresh after an alarm."""
    alarms, total = np.zeros(b.shape, dtype=np.bool_), np.zeros(len(b))
    for night in range(NIGHTS):
        total = (total + 1 / NIGHTS) * E_VALUES[b[:, night]]
        alarms[:, night] = total >= 1 / ALPHA
        total[alarms[:, night]] = 0.0
    return alarms


POLICIES: dict[str, Callable[[Counts], Alarms]] = {
    "alpha = .05 every night": every_night,
    "yearly": yearly,
    "lord": lord,
    "evalue": evalue,
}


def null_row(name: str, policy: Callable[[Counts], Alarms], correlation: float, years: int) -> str:
    """Return the false alarms of a year as a row."""
    count = policy(regressions(years, correlation, 0.0, [1, round(10 * correlation)])).sum(axis=1)
    burst = f"{count[count > 0].mean():.1f}" if count.any() else "-"
    return f"| {name} | {correlation:g} | {np.mean(count > 0):.3f} | {count.mean():.3f} | {burst} |"


def drop_row(name: str, policy: Callable[[Counts], Alarms], correlation: float, points: float, years: int) -> str:
    """Return how soon a lasting drop is found, among the years without an alarm before."""
    alarms = policy(regressions(years, correlation, points, [2, round(10 * correlation), round(10 * points)]))
    alarms = alarms[~alarms[:, :START].any(axis=1), START:]
    found = alarms.any(axis=1)
    nights = np.where(found, alarms.argmax(axis=1) + 1, NIGHTS)
    median = f"{np.median(nights):.0f}" if found.mean() > 0.5 else "-"
    return f"| {name} | {correlation:g} | {points:g} | {alarms[:, 0].mean():.2f} | {found.mean():.2f} | {median} |"


def main() -> None:
    """Write the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "nightly.md")
    arguments = parser.parse_args()
    years = arguments.years
    nulls = [
        null_row(name, policy, correlation, years)
        for correlation in (0.0, 0.5, 0.9)
        for name, policy in POLICIES.items()
    ]
    nulls.append(null_row("evalue, runs_per_baseline: 1, fresh items", evalue_fresh, 0.0, years))
    drops = [
        drop_row(name, policy, correlation, points, years // 5)
        for correlation in (0.0, 0.5)
        for points in (0.5, 1.0, 2.0, 4.0)
        for name, policy in POLICIES.items()
    ]
    drops += [
        drop_row("evalue, runs_per_baseline: 1, fresh items", evalue_fresh, 0.0, points, years // 5)
        for points in (0.5, 1.0, 2.0, 4.0)
    ]
    error = math.sqrt(ALPHA * (1 - ALPHA) / years)
    arguments.out.write_text(
        "\n".join(
            [
                "# A simulated year of nightly runs",
                "",
                f"`python benchmarks/nightly.py --years {years}`: {NIGHTS} nights, {ITEMS:,} items, {FLIPS} flips per "
                f"night, decision.alpha {ALPHA:g}. The correlation comes from the noise of one stored baseline.",
                "",
                "## False alarms: no candidate is worse",
                "",
                f"The standard error of a probability of .05 is {error:.4f}.",
                "",
                "| policy | correlation | P(any alarm in the year) | alarms per year | alarms in a year with any |",
                "|:--|--:|--:|--:|--:|",
                *nulls,
                "",
                f"## Detection: every candidate from night {START + 1} on is worse",
                "",
                "Among the years without an alarm before that night.",
                "",
                "| policy | correlation | drop, points | alarm in the first night | alarm by the end of the year "
                "| nights until it, median |",
                "|:--|--:|--:|--:|--:|--:|",
                *drops,
                "",
            ]
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
