"""Power and limits of smoothed accuracy on the demo's models: int8, damaged, and less certain.

    make demo
    python benchmarks/smoothed.py gate-demo              # about ten minutes on one core
    python benchmarks/smoothed.py gate-demo --runs 100   # a quick look

Writes smoothed.md to benchmarks/results. The items of the demo's six tasks are pooled, and each run draws n of them
with replacement. A margin is the score of the right choice minus that of the best other one, in nats, as the task's
metric scores them. A candidate that is not worse exchanges its answer to each item with the baseline's at random.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from gate.common.smoothing import DEFAULT_SMOOTHING, MOST_SMOOTHING
from gate.samples import ModelSamples
from gate.samples.smoothing import choice_margins
from gate.stats import mcnemar_exact, sign_flip
from gate.store import as_samples, open_set

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]
Candidate = Callable[[Floats, Floats, np.random.Generator], Pair]
ALPHA, POWER = 0.05, 0.8
SMOOTHINGS = (0.1, DEFAULT_SMOOTHING, MOST_SMOOTHING, 1.0)  # the last one is refused by quantgate
SIZES = [round(25 * 2 ** (k / 2)) for k in range(19)]  # 25 to 12,800 items


def margins(store: Path, pattern: str) -> dict[str, Floats]:
    """Return the margins of one model by task."""
    (folder,) = store.glob(pattern)
    samples: ModelSamples = as_samples([open_set(path) for path in sorted(folder.iterdir()) if path.is_dir()])
    found = {}
    for name, task in samples.tasks.items():
        order = np.argsort(task.table.column("item_id").to_pylist())
        found[name] = choice_margins(task, task.metric)[order]
    return found


def pooled(by_task: dict[str, Floats], tasks: list[str]) -> Floats:
    """Return the margins of all tasks."""
    return np.concatenate([by_task[name] for name in tasks])


def p_value(before: Floats, after: Floats, smoothing: float | None, seed: int) -> float:
    """Return the p-value of accuracy (None) or of smoothed accuracy."""
    if smoothing is None:
        regressions = np.count_nonzero((before > 0) & (after <= 0))
        return mcnemar_exact(regressions, np.count_nonzero((before <= 0) & (after > 0))).pvalue
    return sign_flip(ndtr(before / smoothing) - ndtr(after / smoothing), n_resamples=1000, rng=seed).pvalue


def power(
    before: Floats, after: Floats, change: Candidate, smoothing: float | None, n: int, runs: int, seed: list[int]
) -> float:
    """Return the share of runs that reject at ALPHA."""
    generator = np.random.default_rng([*seed, n])
    rejected = 0
    for run in range(runs):
        rows = generator.integers(0, len(before), n)
        rejected += p_value(*change(before[rows], after[rows], generator), smoothing, run) <= ALPHA
    return rejected / runs


def needed(
    before: Floats, after: Floats, change: Candidate, smoothing: float | None, runs: int, seed: list[int]
) -> str:
    """Return the number of items for a power of POWER, interpolated in log n."""
    last = (0, 0.0)
    for n in SIZES:
        found = power(before, after, change, smoothing, n, runs, seed)
        if found >= POWER:
            if last[0] == 0:
                return f"up to {n}"
            share = (POWER - last[1]) / (found - last[1])
            return f"{round(float(np.exp(np.log(last[0]) + share * np.log(n / last[0]))), -1):,.0f}"
        last = (n, found)
    return f"over {SIZES[-1]:,}"


def exchanged(before: Floats, after: Floats, generator: np.random.Generator) -> Pair:
    """Return both models with their answers to each item exchanged at random: neither is worse."""
    swap = generator.random(len(before)) < 0.5
    return np.where(swap, after, before), np.where(swap, before, after)


def as_it_is(before: Floats, after: Floats, _generator: np.random.Generator) -> Pair:
    """Return the candidate itself."""
    return before, after


def less_certain(before: Floats, _after: Floats, _generator: np.random.Generator) -> Pair:
    """Return a candidate whose margins shrink by a fifth, with the same choices."""
    return before, 0.8 * before


def loss_of(points: float, before: Floats, after: Floats) -> tuple[Candidate, float]:
    """Return a candidate that loses the same margin on every item, and that margin: accuracy falls by `points`."""
    both = np.concatenate([before, after])
    low, high = 0.0, 2.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.mean(both > middle) > np.mean(both > 0) - points / 100 else (low, middle)

    def change(one: Floats, other: Floats, generator: np.random.Generator) -> Pair:
        first, second = exchanged(one, other, generator)
        return first, second - low

    return change, low


def main() -> None:
    """Write the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of `gate demo`")
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "smoothed.md")
    arguments = parser.parse_args()
    store, runs = arguments.demo / ".gate", arguments.runs
    sides = (("baseline", "baseline"), ("candidate", "int8"), ("candidate", "damaged"))
    found = [margins(store, f"{side}/models-{name}-*") for side, name in sides]
    tasks = sorted(found[0])
    baseline, int8, damaged = (pooled(one, tasks) for one in found)
    loss, nats = loss_of(1.0, baseline, int8)
    columns: list[float | None] = [None, *SMOOTHINGS]
    cases: list[tuple[str, Floats, Candidate]] = [
        (f"int8 exchanged, and a loss of {nats:.3f} nats on every item (1 point)", int8, loss),
        ("damaged, as it is", damaged, as_it_is),
    ]
    nulls: list[tuple[str, Floats, Candidate]] = [
        ("int8 exchanged", int8, exchanged),
        ("margins x 0.8: the same choices, less certain", int8, less_certain),
    ]
    head = f"| candidate | acc | {' | '.join(f's = {s:g}' for s in SMOOTHINGS)} |\n|:--|{'--:|' * len(columns)}"
    items, sizes = [], []
    for number, (name, other, change) in enumerate(cases):
        cells = [needed(baseline, other, change, s, runs, [1, number]) for s in columns]
        items.append(f"| {name} | {' | '.join(cells)} |")
        print(items[-1], flush=True)
    for number, (name, other, change) in enumerate(nulls):
        shares = [power(baseline, other, change, s, len(baseline), 2 * runs, [2, number]) for s in columns]
        sizes.append(f"| {name} | {' | '.join(f'{share:.3f}' for share in shares)} |")
        print(sizes[-1], flush=True)
    spread = [float(np.median(np.abs(one - baseline))) for one in (int8, damaged)]
    arguments.out.write_text(
        f"""# Smoothed accuracy on the demo's models

`python benchmarks/smoothed.py gate-demo --runs {runs}`: {len(baseline):,} items of {len(tasks)} tasks, accuracy
{np.mean(baseline > 0):.3f} (baseline), {np.mean(int8 > 0):.3f} (int8), {np.mean(damaged > 0):.3f} (damaged). The median
change of a margin is {spread[0]:.3f} nats (int8) and {spread[1]:.3f} nats (damaged). Tests at {ALPHA:g}: exact McNemar
for acc, sign-flips for smoothed accuracy with s nats. quantgate refuses s above {MOST_SMOOTHING:g}.

## Items needed for a power of {POWER:g}

{head}
{chr(10).join(items)}

## Rejections of a candidate with the same accuracy ({len(baseline):,} items, {2 * runs} runs)

{head}
{chr(10).join(sizes)}

A wider smoothing needs fewer items and measures accuracy less: it also rejects a candidate that makes the same choices
with less certainty.
""",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
