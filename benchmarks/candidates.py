"""Family-wise error and power of the step-down test over candidates, against Holm and Bonferroni.

    python benchmarks/candidates.py              # about ten minutes on a quiet core
    python benchmarks/candidates.py --only worse # scenarios whose name contains a word; the others stay

Writes candidates.json and, from it, candidates.md to benchmarks/results.

Answers are simulated: an item has a chance of a right answer (most near 0 or 1), and every evaluation draws from it.
The baseline's draw is common to all candidates, as in a real run. With `shared`, the candidates also share that part of
their own draws, as models that were quantised in related ways do. Without damage, all draws have the same chances: no
candidate is worse, but the differences of one item are not jointly symmetric about zero (where the baseline happens to
be wrong on an easy item, every candidate is likely to be right). Exactness is therefore not assumed, but tested.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gate.stats import Evidence, SharedUnits, combine, holm, step_down

ALPHA = 0.05
DRAWS = 4_000
TASKS = (800, 1200)  # two: their joint outcomes are enumerated, which is fast
RESULTS = Path(__file__).parent / "results"
NAMES = ("none", "Bonferroni", "Holm", "step-down")


@dataclass(frozen=True)
class Scenario:
    """Candidates, the share of draws that they have in common, and each candidate's drop (proportion)."""

    name: str
    candidates: int
    shared: float
    drops: tuple[float, ...] = ()

    @property
    def losses(self) -> tuple[float, ...]:
        """Drop of each candidate."""
        return (*self.drops, *[0.0] * (self.candidates - len(self.drops)))


SCENARIOS = (
    Scenario("none worse, 2 candidates, independent", 2, 0.0),
    Scenario("none worse, 5 candidates, independent", 5, 0.0),
    Scenario("none worse, 5 candidates, half shared", 5, 0.5),
    Scenario("none worse, 5 candidates, 95 % shared", 5, 0.95),
    Scenario("none worse, 10 candidates, 80 % shared", 10, 0.8),
    Scenario("one of 5 worse by 2 points, independent", 5, 0.0, (0.02,)),
    Scenario("one of 5 worse by 2 points, 80 % shared", 5, 0.8, (0.02,)),
    Scenario("all 5 worse by 1.5 points, half shared", 5, 0.5, (0.015,) * 5),
    Scenario("all 5 worse by 1.5 points, 95 % shared", 5, 0.95, (0.015,) * 5),
    Scenario("5 of 10 worse by 2 points, 80 % shared", 10, 0.8, (0.02,) * 5),
)


def simulate(generator: np.random.Generator, scenario: Scenario) -> list[NDArray[np.float64]]:
    """Return the differences of each task, shape (items, candidates)."""
    tasks = []
    for items in TASKS:
        chance = generator.choice([0.03, 0.5, 0.98], items, p=[0.25, 0.1, 0.65])
        baseline = generator.random(items) < chance
        common = generator.random(items)
        damage = generator.random(items)
        columns = []
        for loss in scenario.losses:
            own = np.where(generator.random(items) < scenario.shared, common, generator.random(items))
            # damage hits items that the model answers right; it is shared like the rest of the noise
            hit = np.where(generator.random(items) < scenario.shared, damage, generator.random(items)) < loss / 0.7
            columns.append(baseline.astype(np.float64) - ((own < chance) & ~hit))
        tasks.append(np.stack(columns, axis=1))
    return tasks


def pvalues(tasks: Sequence[NDArray[np.float64]], seed: int) -> dict[str, NDArray[np.float64]]:
    """Return the p-values of the candidates under each adjustment."""
    candidates = tasks[0].shape[1]
    counts = [((task > 0).sum(axis=0), (task < 0).sum(axis=0)) for task in tasks]
    alone = np.array(
        [
            combine([Evidence.from_counts(int(b[j]), int(c[j])) for b, c in counts], n_resamples=DRAWS, rng=seed).pvalue
            for j in range(candidates)
        ]
    )
    units = [SharedUnits(task, np.arange(candidates), np.ones(candidates)) for task in tasks]
    return {
        "none": alone,
        "Bonferroni": np.minimum(candidates * alone, 1.0),
        "Holm": holm(alone),
        "step-down": step_down(units, alone, n_resamples=DRAWS, rng=seed).pvalue,
    }


def measure(scenario: Scenario, runs: int) -> dict[str, tuple[float, float, float]]:
    """Return, by adjustment, the shares of runs with any false FAIL and with any true one, and of true FAILs found."""
    worse = np.array(scenario.losses) > 0
    found: dict[str, list[tuple[bool, bool, float]]] = {}
    for run in range(runs):
        generator = np.random.default_rng([run, scenario.candidates, int(100 * scenario.shared), len(scenario.drops)])
        for name, values in pvalues(simulate(generator, scenario), run).items():
            rejected = values <= ALPHA
            share = float(rejected[worse].mean()) if worse.any() else 0.0
            found.setdefault(name, []).append((bool(rejected[~worse].any()), bool(rejected[worse].any()), share))
    return {name: tuple(np.mean(rows, axis=0).tolist()) for name, rows in found.items()}


def report(stored: dict[str, dict[str, list[float]]]) -> str:
    """Return the tables of all scenarios that were measured."""
    head = ["", f"| Scenario | runs | {' | '.join(NAMES)} |", f"|:--|--:|{'--:|' * len(NAMES)}"]
    errors, power = list(head), list(head)
    for scenario in SCENARIOS:
        if scenario.name not in stored:
            continue
        measured = stored[scenario.name]
        label = f"| {scenario.name} | {measured['runs'][0]:,.0f} |"
        if len(scenario.drops) < scenario.candidates:
            errors.append(f"{label} {' | '.join(f'{measured[name][0]:.3f}' for name in NAMES)} |")
        if scenario.drops:
            power.append(f"{label} {' | '.join(f'{measured[n][2]:.3f} ({measured[n][1]:.3f})' for n in NAMES)} |")
    return "\n".join(
        [
            "# Several candidates: family-wise error and power",
            "",
            f"`python benchmarks/candidates.py`: simulated answers of {len(TASKS)} tasks "
            f"({' and '.join(f'{n:,}' for n in TASKS)} items), the omnibus rule at alpha = {ALPHA:g}, {DRAWS:,} draws.",
            "The docstring describes the simulation. Two standard errors at .05: .010 (2,000 runs), .025 (300 runs).",
            "",
            "## Runs with any false FAIL among the candidates that are not worse",
            *errors,
            "",
            "## Share of the worse candidates that FAIL (runs with any of them in brackets)",
            *power,
            "",
        ]
    )


def main() -> None:
    """Run the scenarios and write the results after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2_000, help="runs without damage; a quarter of it with")
    parser.add_argument("--only", default="", help="run the scenarios whose name contains this")
    options = parser.parse_args()
    path = RESULTS / "candidates.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for scenario in SCENARIOS:
        if options.only not in scenario.name:
            continue
        runs = options.runs // 4 if scenario.drops else options.runs
        stored[scenario.name] = {"runs": [runs], **measure(scenario, runs)}
        print(scenario.name, stored[scenario.name], flush=True)
        path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "candidates.md").write_text(report(stored), encoding="utf-8")


if __name__ == "__main__":
    main()
