"""Single tasks and detectable drops, by simulation of whole decisions.

1. How often any task without a drop fails (at most alpha), and how often the dropped tasks do.
2. How often the decision rejects at the detectable drop that a report states (power .8).

    python benchmarks/task_verdicts.py --runs 1000 --out benchmarks/results/task_verdicts.md
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gate.stats import Evidence, PlannedTask, Rule, closed_pvalues, combine, planned_detectable_drop

ALPHA = 0.05
DRAWS = 2_000
SUITE = [(1000, 0.05), (400, 0.03), (2000, 0.02), (600, 0.08)]
"""Items and noise of each task."""
GROUP = 4
"""Items of a cluster, which flip together."""


def counts(rng: np.random.Generator, n: int, noise: float, drop: float) -> Evidence:
    """Return a binary task: improvements noise / 2, regressions noise / 2 + drop."""
    b, c, _ = rng.multinomial(n, [noise / 2 + drop, noise / 2, 1 - noise - drop])
    return Evidence.from_counts(int(b), int(c), n)


def graded(rng: np.random.Generator, n: int, noise: float, drop: float) -> NDArray[np.float64]:
    """Return differences in steps of a quarter, and losses of half a point."""
    sizes = rng.choice([0.25, 0.5, -0.25, -0.5], n) * (rng.random(n) < noise)
    return sizes + 0.5 * (rng.random(n) < 2 * drop)


def clustered(rng: np.random.Generator, n: int, noise: float, drop: float) -> NDArray[np.float64]:
    """Return differences of clusters that flip together."""
    units = rng.choice([1.0, -1.0, 0.0], n // GROUP, p=[noise / 2 + drop, noise / 2, 1 - noise - drop])
    return np.repeat(units, GROUP)


def verdicts(rule: Rule, drops: Sequence[float], runs: int, rng: np.random.Generator) -> list[str]:
    """Return one row: false failures, failures of the dropped tasks by closed testing and by Holm's method."""
    false = found = holm_found = rejected = 0
    dropped = np.array(drops) > 0
    for _ in range(runs):
        tasks = [counts(rng, n, noise, drop) for (n, noise), drop in zip(SUITE, drops, strict=True)]
        combined = combine(tasks, rule, n_resamples=DRAWS, rng=0)
        holm_found += int((np.array(combined.task_pvalues_holm) <= ALPHA)[dropped].sum())
        if combined.pvalue <= ALPHA:
            rejected += 1
            fails = closed_pvalues(tasks, combined, rng=0, n_resamples=4_000) <= ALPHA
            false += bool(fails[~dropped].any())
            found += int(fails[dropped].sum())
    each = max(1, int(dropped.sum())) * runs
    points = " ".join(f"{100 * drop:g}" for drop in drops)
    return [
        rule,
        points,
        *(f"{value:.3f}" for value in (rejected / runs, false / runs, found / each, holm_found / each)),
    ]


def power(kind: str, rule: Rule, margin: float, runs: int, rng: np.random.Generator) -> list[str]:
    """Return one row: the stated detectable drop and the share of decisions that reject at it."""
    labels = [np.repeat(np.arange(n // GROUP), GROUP) for n, _ in SUITE]

    def suite(drop: float) -> list[Evidence]:
        tasks = []
        for (n, noise), groups in zip(SUITE, labels, strict=True):
            if kind == "binary" or (kind == "mixed" and n < 1000):
                tasks.append(counts(rng, n, noise, drop))
            elif kind == "clusters":
                tasks.append(Evidence.from_differences(clustered(rng, n, noise, drop), groups, rng=0))
            else:
                tasks.append(Evidence.from_differences(graded(rng, n, noise, drop), rng=0))
        return tasks

    planned = []
    for n, noise in SUITE:
        if kind == "binary" or (kind == "mixed" and n < 1000):
            planned.append(PlannedTask(n, noise, margin))
        else:
            many = clustered(rng, 200_000, noise, 0.0) if kind == "clusters" else graded(rng, 200_000, noise, 0.0)
            cluster = np.repeat(np.arange(200_000 // GROUP), GROUP) if kind == "clusters" else None
            whole = PlannedTask.from_differences(many, cluster)
            planned.append(PlannedTask(round(whole.n * n / 200_000), whole.noise_rate, margin, 1.0, whole.gain))
    drop = planned_detectable_drop(planned, ALPHA, 0.8, rule, rng=0)
    hits = sum(combine(suite(drop), rule, margin=margin, n_resamples=DRAWS, rng=0).pvalue <= ALPHA for _ in range(runs))
    return [kind, rule, f"{100 * margin:g}", f"{100 * drop:.2f}", f"{hits / runs:.3f}"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["--"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/task_verdicts.md"))
    arguments = parser.parse_args()
    runs, rng = arguments.runs, np.random.default_rng(1)
    scenarios: list[tuple[Rule, list[float]]] = [
        ("omnibus", [0, 0, 0, 0]),
        ("omnibus", [0.02, 0, 0, 0]),
        ("omnibus", [0.015, 0, 0.008, 0]),
        ("pooled", [0.02, 0, 0, 0]),
        ("fisher", [0.02, 0, 0.01, 0]),
        ("max", [0.02, 0, 0.01, 0]),
    ]
    single = [verdicts(rule, drops, runs, rng) for rule, drops in scenarios]
    plans: list[tuple[str, Rule, float]] = [
        ("binary", "omnibus", 0),
        ("binary", "max", 0),
        ("binary", "fisher", 0),
        ("mixed", "omnibus", 0),
        ("graded", "omnibus", 0),
        ("clusters", "omnibus", 0),
        ("binary", "omnibus", 0.01),
    ]
    stated = [power(kind, rule, margin, runs, rng) for kind, rule, margin in plans]
    error = np.sqrt(0.05 * 0.95 / runs), np.sqrt(0.8 * 0.2 / runs)
    suite = ", ".join(f"{n:,} ({100 * noise:g} %)" for n, noise in SUITE)
    text = f"""# Single tasks and detectable drops

`python benchmarks/task_verdicts.py --runs {runs}`: {runs:,} simulated decisions per row, alpha = .05.
Four tasks with items (noise flips): {suite}.

## Which tasks fail (closed testing)

"False": any task without a drop fails; at most .05 (standard error at .05: {error[0]:.3f}). "Found": share of the
dropped tasks that fail, by closed testing and by Holm's method alone.

{table(["rule", "drops, points", "FAIL", "false", "found", "found by Holm"], single)}

## Power at the stated detectable drop

The stated power is .8 (standard error {error[1]:.3f}). Graded scores, clusters and margins are approximations.

{table(["scores", "rule", "margin, points", "stated drop, points", "power"], stated)}
"""
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
