"""Calibration study of the decision: size on the null, power in six scenarios, coverage of the intervals.

    python benchmarks/calibration.py            # about six minutes on one core
    python benchmarks/calibration.py --runs 2000  # a quick look

Writes calibration.json, calibration.md and (with matplotlib) calibration.svg to benchmarks/results.

Given the discordant counts m the null law of every rule is exact, so each design is simulated in strata: the counts are
drawn several dozen times, and for each draw the critical values are computed once and used for many runs. The omnibus
p-value of a run is its rank among 200,000 draws from the null; `omnibus()` itself is checked against it.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from gate.stats import (
    _binomial,
    _nulls,
    _rules,
    flip_rate_interval,
    omnibus,
    tango_interval,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ALPHA = 0.05
NIGHTLY = 1 / 365  # the level of a yearly policy
ACCURACY = 0.75  # of the baseline on every task; affects only the unpaired tests
NULL_DRAWS = 200_000
OTHER_RUNS = 4000  # for the other checks, of which the bootstrap is slow
SIZE_FACTOR = 5  # distinguishing a size of .05 from .055 takes more runs than power does
VLLM_TOLERANCE = 0.03
SGLANG_QUESTIONS, SGLANG_SLACK, SGLANG_ACCURACY = 200, 0.03, 0.80
RULES = ["omnibus", "pooled", "fisher", "max", "holm"]
OTHERS = [
    "any of the four",
    "any of three at alpha/3",
    "unpaired z-test (lm-eval)",
    "1-point threshold",
    "recorded accuracy - .03 (vLLM)",
    "floor on 200 questions (SGLang)",
    "bootstrap of the mean",
]


@dataclass(frozen=True)
class Design:
    """Tasks with their sizes and flip rates."""

    name: str
    n: Ints
    flips: Floats


SIX = Design(
    "six tasks, 817 to 14,042 items",
    np.array([1172, 10042, 1319, 1267, 14042, 817]),
    np.array([0.08, 0.05, 0.12, 0.10, 0.06, 0.09]),
)
MMLU_SIZES = np.random.default_rng(57).integers(100, 600, 57)
DESIGNS = [
    Design("one task, 1,000 items", np.array([1000]), np.array([0.08])),
    SIX,
    Design("three tasks, about 4 flips each", np.array([60, 80, 100]), np.full(3, 0.05)),
    Design("twelve tasks, about 6 flips each", np.full(12, 100), np.full(12, 0.06)),
    Design(
        "unequal: 2, 10, 100 and 2,000 flips",
        np.array([50, 200, 1000, 20000]),
        np.array([0.04, 0.05, 0.1, 0.1]),
    ),
    Design("57 tasks, 100 to 600 items", MMLU_SIZES, np.full(57, 0.08)),
]
SCENARIOS = {
    "none": [0.0] * 6,
    "0.3 points on every task": [0.003] * 6,
    "0.5 points on every task": [0.005] * 6,
    "3 points on the third task": [0, 0, 0.03, 0, 0, 0],
    "4 points on the first task": [0.04, 0, 0, 0, 0, 0],
    "mixed: 1, -.2, 2, 0, .3, 1": [0.01, -0.002, 0.02, 0, 0.003, 0.01],
}


class Stratum:
    """The null laws of all rules at one draw of the discordant counts."""

    def __init__(self, m: Ints, generator: np.random.Generator) -> None:
        self.m = m
        self.moved = np.flatnonzero(m)
        self.nulls = [_nulls.coins(k) for k in m[self.moved].tolist()]
        self.fisher = _rules.fisher_law(self.nulls)
        self.largest = _rules.max_law(self.nulls, from_z=-9.0)
        null = self._three(generator.binomial(m, 0.5, (NULL_DRAWS, m.size)))
        self.null_smallest = np.sort(null.min(axis=0))

    def p_values(self, heads: Ints) -> dict[str, Floats]:
        """Return the p-values of every rule for regressions of shape (runs, tasks)."""
        three = self._three(heads)
        smallest = three.min(axis=0)
        rank = np.searchsorted(self.null_smallest, smallest * (1 + 1e-9), side="right")
        tasks = _binomial.sf(heads, self.m)
        holm = np.minimum(1.0, tasks.min(axis=1) * self.m.size)
        return {
            "omnibus": (1 + rank) / (NULL_DRAWS + 1),
            "pooled": three[0],
            "fisher": three[1],
            "max": three[2],
            "holm": holm,
            "any of the four": np.minimum(smallest, holm),
            "any of three at alpha/3": np.minimum(1.0, 3.0 * smallest),
        }

    def _three(self, heads: Ints) -> Floats:
        totals, inverse = np.unique(heads.sum(axis=1), return_inverse=True)
        pooled = _binomial.sf(totals, np.int64(self.m.sum()))[inverse]
        cost, largest = np.zeros(heads.shape[0]), np.full(heads.shape[0], -np.inf)
        for k, null in zip(self.moved, self.nulls, strict=True):
            first = round((null.values[0] + (null.coins or 0)) / 2)
            index = np.clip(heads[:, k] - first, 0, null.values.size - 1)
            cost += null.costs[index]
            largest = np.maximum(largest, null.values[index] / null.sigma)
        by_max = self.largest.sf(largest)
        by_fisher = self.fisher.sf(cost) if self.fisher is not None else pooled
        return np.array([pooled, by_fisher, by_max])


def others(
    design: Design, heads: Ints, m: Ints, drops: Floats, generator: np.random.Generator
) -> dict[str, NDArray[np.bool_]]:
    """Return which of the same runs fail under other checks in use today."""
    n = design.n
    drop = (2 * heads - m) / n
    baseline = (generator.binomial(n - m, ACCURACY, heads.shape) + heads) / n
    candidate = baseline - drop
    variance = (baseline * (1 - baseline) + candidate * (1 - candidate)) / (n - 1)
    z = drop / np.sqrt(np.maximum(variance, 1e-12))
    # A fresh sample of questions each night, from a model whose accuracy fell by the mean drop.
    right = generator.binomial(SGLANG_QUESTIONS, SGLANG_ACCURACY - drops.mean(), heads.shape[0])
    return {
        "unpaired z-test (lm-eval)": (2 * special.ndtr(-np.abs(z)) <= ALPHA).any(axis=1) & (z.max(axis=1) > 0),
        "1-point threshold": (drop > 0.01).any(axis=1),
        "recorded accuracy - .03 (vLLM)": (drop > VLLM_TOLERANCE).any(axis=1),
        "floor on 200 questions (SGLang)": right / SGLANG_QUESTIONS < SGLANG_ACCURACY - SGLANG_SLACK,
        "bootstrap of the mean": _bootstrap(heads, m, n, generator),
    }


def _bootstrap(
    heads: Ints, m: Ints, n: Ints, generator: np.random.Generator, resamples: int = 400
) -> NDArray[np.bool_]:
    """Percentile bootstrap of the mean drop over tasks: fails if 95 % of the resamples show a drop."""
    rejected = np.zeros(heads.shape[0], dtype=np.bool_)
    for run, b in enumerate(heads):
        c = m - b
        regressions = generator.binomial(n, b / n, (resamples, n.size))
        improvements = generator.binomial(n - regressions, c / (n - b))
        mean = ((regressions - improvements) / n).mean(axis=1)
        rejected[run] = np.quantile(mean, ALPHA) > 0.0
    return rejected


def rejection_rates(
    design: Design, drops: Floats, runs: int, strata: int, seed: list[int]
) -> tuple[dict[str, float], float]:
    """Return the share of runs that each rule fails, and how much `omnibus()` differs from the ranks in three runs."""
    generator = np.random.default_rng(seed)
    runs_per_stratum = math.ceil(runs / strata)
    counts: dict[str, int] = {}
    difference = 0.0
    for stratum_number in range(strata):
        m = generator.binomial(design.n, design.flips)
        stratum = Stratum(m, generator)
        heads = generator.binomial(m, np.clip(0.5 + drops / (2 * design.flips), 0, 1), (runs_per_stratum, m.size))
        p = stratum.p_values(heads)
        rejected = {name: values <= ALPHA * (1 + 1e-12) for name, values in p.items()}
        bootstrapped = min(runs_per_stratum, max(1, (OTHER_RUNS if design.n.size <= 24 else 1000) // strata))
        by_others = others(design, heads[:bootstrapped], m, drops, generator)
        for name, hit in rejected.items():
            counts[name] = counts.get(name, 0) + int(hit.sum())
        for name in RULES:
            counts[f"{name}, nightly"] = counts.get(f"{name}, nightly", 0) + int((p[name] <= NIGHTLY).sum())
        for name, hit in by_others.items():
            counts[name] = counts.get(name, 0) + round(float(hit.mean()) * runs_per_stratum)
        if stratum_number < 3:
            direct = omnibus(heads[0], m - heads[0], n_resamples=200_000, rng=stratum_number).pvalue
            difference = max(difference, abs(direct - float(p["omnibus"][0])))
    return {name: count / (runs_per_stratum * strata) for name, count in counts.items()}, difference


def coverage(n: int, flips: float, drop: float, runs: int, seed: list[int]) -> dict[str, float]:
    """Return the coverage of Tango's interval, of the textbook (Wald) interval, and of the flip rate's interval."""
    generator = np.random.default_rng(seed)
    worse, better = (flips + drop) / 2, (flips - drop) / 2
    b = generator.binomial(n, worse, runs)
    c = generator.binomial(n - b, better / (1 - worse))
    pairs, inverse = np.unique(np.column_stack([b, c]), axis=0, return_inverse=True)
    first, second = pairs[:, 0].copy(), pairs[:, 1].copy()
    row: dict[str, float] = {}
    for confidence in (0.90, 0.95):
        low, high = tango_interval(first, second, n, confidence)
        row[f"Tango {confidence:.0%}"] = float(np.mean(((low <= drop) & (drop <= high))[inverse]))
        estimate = (first - second) / n
        half = special.ndtri(0.5 + confidence / 2) * np.sqrt(((first + second) / n - estimate**2) / n)
        row[f"Wald {confidence:.0%}"] = float(np.mean((np.abs(estimate - drop) <= half)[inverse]))
    low, high = flip_rate_interval(first + second, n, 0.95)
    row["flip rate 95%"] = float(np.mean(((low <= flips) & (flips <= high))[inverse]))
    return row


def study(runs: int, seed: int) -> dict[str, object]:
    """Run the whole study and return it as a JSON-ready value."""
    started = time.perf_counter()
    size: dict[str, dict[str, float]] = {}
    agreement: dict[str, float] = {}
    for number, design in enumerate(DESIGNS):
        strata = 40 if design.n.size > 24 else 100
        size[design.name], agreement[design.name] = rejection_rates(
            design, np.zeros(design.n.size), SIZE_FACTOR * runs, strata, [seed, 1, number]
        )
        print(f"{time.perf_counter() - started:6.0f} s  size   {design.name}: {size[design.name]['omnibus']:.4f}")
    power: dict[str, dict[str, float]] = {}
    for number, (name, drops) in enumerate(SCENARIOS.items()):
        power[name], _ = rejection_rates(SIX, np.array(drops), runs, 40, [seed, 2, number])
        print(f"{time.perf_counter() - started:6.0f} s  power  {name}: {power[name]['omnibus']:.3f}")
    intervals = {
        f"n = {n:,}, flip rate {flips:g}, drop {drop:g}": coverage(n, flips, drop, runs, [seed, 4, n, k])
        for k, (flips, drop) in enumerate(((0.02, 0.0), (0.02, 0.01), (0.1, 0.0), (0.1, 0.03), (0.3, 0.1)))
        for n in (50, 200, 1000, 10_000)
    }
    return {
        "alpha": ALPHA,
        "runs": runs,
        "size_runs": SIZE_FACTOR * runs,
        "seed": seed,
        "size": size,
        "power": power,
        "coverage": intervals,
        "omnibus_function_differs_at_most_by": agreement,
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    }


def _table(rows: dict[str, dict[str, float]], columns: list[str], digits: int, mark: Callable[[float], str]) -> str:
    head = "| | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns) + "\n"
    lines = (
        f"| {name} | " + " | ".join(f"{mark(row[c])}{row[c]:.{digits}f}{mark(row[c])}" for c in columns) + " |"
        for name, row in rows.items()
    )
    return head + "\n".join(lines) + "\n"


def markdown(result: dict[str, object]) -> str:
    """Return the study as a Markdown page."""
    runs, seed = result["runs"], result["seed"]
    size, power, intervals = (result[k] for k in ("size", "power", "coverage"))
    assert isinstance(size, dict)
    assert isinstance(power, dict)
    assert isinstance(intervals, dict)
    assert isinstance(runs, int)
    size_runs = SIZE_FACTOR * runs
    limit = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / size_runs)

    nightly = {name: {rule: row[f"{rule}, nightly"] for rule in RULES} for name, row in size.items()}
    nightly_limit = NIGHTLY + 2 * math.sqrt(NIGHTLY * (1 - NIGHTLY) / size_runs)

    def over_nightly(value: float) -> str:
        return "**" if value > nightly_limit else ""

    def plain(_: float) -> str:
        return ""

    def over(value: float) -> str:
        return "**" if value > limit else ""

    def over_few(value: float) -> str:
        return "**" if value > ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / OTHER_RUNS) else ""

    largest = max(row[r] for row in size.values() for r in RULES)
    gain = min(row["omnibus"] - row["any of three at alpha/3"] for name, row in power.items() if name != "none")
    loss = max(max(row[r] for r in ("pooled", "fisher", "max")) - row["omnibus"] for row in power.values())
    differs = result["omnibus_function_differs_at_most_by"]
    assert isinstance(differs, dict)
    agreement = max(differs.values())
    return f"""# Calibration study

Made by `python benchmarks/calibration.py --runs {runs} --seed {seed}` in {result["seconds"]} s on one core.
alpha = .05; baseline accuracy {ACCURACY} on every task. Sizes over .05 + 2 standard errors are bold.

- Largest size of a rule: {largest:.4f} (limit: .05 + 2 standard errors = {limit:.4f}).
- Power of omnibus minus that of any-of-three at alpha/3, smallest over the scenarios with a drop: {gain:+.3f}.
- Power of the best single aggregate minus that of omnibus, largest over the scenarios: {loss:.3f}.
- The p-values of `omnibus()` (200,000 draws, three runs per design) and those used here differ by at most
  {agreement:.4f}, the noise of two simulations.

![size and power](calibration.svg)

## (a) Size: share of {size_runs:,} unchanged candidates that fail

{_table(size, RULES, 4, over)}
The same runs at the level of a yearly policy, 1/365 = {NIGHTLY:.5f}; the limit is {nightly_limit:.5f}:

{_table(nightly, RULES, 5, over_nightly)}
The same runs under other checks ("any of the four" is pooled, max, Fisher or Holm, each at .05):

{_table(size, OTHERS, 4, over_few)}
## (b) Power: share of {runs:,} candidates that fail, six tasks of 817 to 14,042 items

{_table(power, RULES, 3, plain)}
{_table(power, OTHERS, 3, plain)}
How the other checks are modelled. *lm-eval*: the two-sided z-test of `model_comparator`, which treats both runs as
independent, any task at .05. *1 point*: any task drops by more than one point. *vLLM*: any task below its recorded
accuracy minus .03. *SGLang*: {SGLANG_QUESTIONS} fresh questions at accuracy {SGLANG_ACCURACY},
floor {SGLANG_SLACK} below it, which fails unchanged models about as often as its PR 20304 reports (17 of 120
nights, .14); the accuracy falls by the mean drop. *Bootstrap*: 400 resamples of the mean drop over tasks, one-sided
percentile. These five use {OTHER_RUNS:,} of the runs (1,000 for 57 tasks).

## (c) Coverage of Tango's interval

Reports use the exact interval; its coverage, and all sizes at a margin, are in `calibration_margin.md`.

{_table(intervals, list(next(iter(intervals.values()))), 3, plain)}"""


def plot(result: dict[str, object], path: Path) -> bool:
    """Plot size and power as two panels; return False if matplotlib is not installed."""
    try:
        import matplotlib

        matplotlib.use("svg")
        matplotlib.rcParams["svg.hashsalt"] = "quantgate"
        import matplotlib.pyplot as plt
    except ImportError:
        return False
    size, power, runs = result["size"], result["power"], result["runs"]
    assert isinstance(size, dict)
    assert isinstance(power, dict)
    assert isinstance(runs, int)
    figure, (left, right) = plt.subplots(1, 2, figsize=(14, 5.5), layout="constrained")
    names = list(size)[::-1]
    scenarios = [name for name in power if name != "none"][::-1]
    for k, rule in enumerate([*RULES, "any of three at alpha/3", "any of the four", *OTHERS[2:]]):
        is_rule = k < len(RULES)
        style = {
            "marker": "o" if is_rule else "x" if k < 11 else "+",
            "color": f"C{k}" if k < 10 else "black",
            "linestyle": "none",
        }
        if is_rule or rule.startswith("any"):
            left.plot([size[name][rule] for name in names], range(len(names)), **style)
        if rule != "any of the four":
            right.plot([power[name][rule] for name in scenarios], range(len(scenarios)), label=rule, **style)
        else:
            right.plot([], [], label=rule + ", each at .05", **style)
    left.axvline(ALPHA, color="black", linewidth=0.8)
    left.axvline(
        ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / (SIZE_FACTOR * runs)),
        color="black",
        linewidth=0.8,
        ls=":",
    )
    left.set_yticks(range(len(names)), [name.replace(": ", ":\n") for name in names])
    left.set(xlabel="share of unchanged candidates that fail", title="Size at alpha = .05", xlim=(0, None))
    right.set_yticks(range(len(scenarios)), [name.replace(" on ", "\non ").replace(": ", ":\n") for name in scenarios])
    right.set(xlabel="share of degraded candidates that fail", title="Power, six tasks", xlim=(0, 1.02))
    for axes in (left, right):
        axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    return True


def main() -> None:
    """Run the study and write its files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=20260210)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    result = study(arguments.runs, arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "calibration.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "calibration.md").write_text(markdown(result))
    if not plot(result, arguments.out / "calibration.svg"):
        print("matplotlib is not installed; no plot was written")
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
