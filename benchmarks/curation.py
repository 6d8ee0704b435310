"""Size and power of the test on curated items, for three ways to select them.

    python benchmarks/curation.py            # about four minutes on one core
    python benchmarks/curation.py --runs 500 # a quick look

Writes curation.md to benchmarks/results. Items have two choices. An item's margin (log-likelihood of the right choice
less that of the other, in nats) is a latent value, normal over the items, plus independent noise of each model.
If the candidate is not worse, both models' margins are exchangeable, so a flip is a fair coin on the whole task.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri
from scipy.stats import binom

from gate.common.selection import Selection

ALPHA = 0.05
SPREAD = 1.0  # standard deviation of the latent margin over items, nats
RULE = Selection("baseline", "", runs=10, temperature=0.3, seed=0, audit=0.1)
WAYS = ["whole task", "old rule: the baseline alone", "both models (default)", "a third model (--by)"]


@dataclass(frozen=True)
class Case:
    """One row of the study; `shift` is the loss of margin in nats on the share `damaged` of the items."""

    name: str
    accuracy: float
    n: int
    noise: float
    heavy: bool = False
    drop: float = 0.0
    damaged: float = 1.0
    shift: float | None = None


NULLS = [
    Case("accuracy .25", 0.25, 10_000, 0.4),
    Case("accuracy .40", 0.40, 10_000, 0.4),
    Case("accuracy .40, less noise", 0.40, 10_000, 0.2),
    Case("accuracy .40, more items", 0.40, 40_000, 0.4),
    Case("accuracy .40, heavy tails (t, 3 df)", 0.40, 10_000, 0.3, heavy=True),
    Case("accuracy .60", 0.60, 10_000, 0.4),
    Case("accuracy .84", 0.84, 10_000, 0.4),
    Case("accuracy .84, little noise", 0.84, 10_000, 0.1),
]
LOSSES = [
    Case(".3 points on all items, accuracy .84", 0.84, 40_000, 0.3, drop=0.003),
    Case("1 point on all items, accuracy .84", 0.84, 10_000, 0.3, drop=0.01),
    Case("1 point on all items, accuracy .40", 0.40, 10_000, 0.3, drop=0.01),
    Case("1 point, accuracy .84, little noise", 0.84, 3_000, 0.1, drop=0.01),
    Case("2 % of the items become certain and wrong", 0.84, 10_000, 0.3, damaged=0.02, shift=50.0),
    Case("all items become certain and wrong", 0.60, 500, 0.3, shift=50.0),
]


def noise(case: Case, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return one model's noise, of standard deviation `case.noise`."""
    if case.heavy:
        return np.asarray(case.noise * generator.standard_t(3, case.n) / math.sqrt(3))
    return generator.normal(0.0, case.noise, case.n)


def selected(margin: NDArray[np.float64], draws: NDArray[np.float64], floor: float) -> NDArray[np.bool_]:
    """Return which items the rule selects: `Selection.selects` for arrays."""
    right = expit(margin / RULE.temperature)
    return np.asarray(draws < np.maximum(1 - right**RULE.runs - (1 - right) ** RULE.runs, floor))


def margin_shift(case: Case, centre: float) -> float:
    """Return the loss of margin that costs `case.drop` of accuracy."""
    if case.shift is not None:
        return case.shift
    spread = math.hypot(SPREAD, case.noise)
    return float(centre - spread * ndtri(case.accuracy - case.drop))


def study(case: Case, runs: int, seed: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, per way to select, the rejection rate at ALPHA and the share of items that are evaluated."""
    generator = np.random.default_rng(seed)
    centre = float(ndtri(case.accuracy)) * math.hypot(SPREAD, case.noise)
    shift = margin_shift(case, centre)
    rejected, evaluated = np.zeros(len(WAYS)), np.zeros(len(WAYS))
    for _ in range(runs):
        latent = generator.normal(centre, SPREAD, case.n)
        baseline, candidate, third = (latent + noise(case, generator) for _ in range(3))
        candidate = candidate - shift * (generator.random(case.n) < case.damaged)
        draws = generator.random(case.n)
        by_baseline = selected(baseline, draws, RULE.audit)
        old = selected(baseline, draws, 0.0)
        by_third = selected(third, draws, RULE.audit)
        counts = [np.ones(case.n, dtype=np.bool_), old, by_baseline & selected(candidate, draws, RULE.audit), by_third]
        regressed, improved = (baseline > 0) & (candidate <= 0), (baseline <= 0) & (candidate > 0)
        for way, (count, cost) in enumerate(zip(counts, [counts[0], old, by_baseline, by_third], strict=True)):
            b, c = np.count_nonzero(regressed & count), np.count_nonzero(improved & count)
            rejected[way] += binom.sf(b - 1, b + c, 0.5) <= ALPHA
            evaluated[way] += cost.mean()
    return rejected / runs, evaluated / runs


def table(cases: list[Case], runs: int, seed: int, cell: Callable[[float, float], str]) -> str:
    """Return the rows of a Markdown table, one per case."""
    rows = []
    for number, case in enumerate(cases):
        rate, share = study(case, runs, [seed, number])
        cells = " | ".join(cell(float(r), float(s)) for r, s in zip(rate, share, strict=True))
        rows.append(f"| {case.name} | {case.n:,} | {case.noise:g} | {cells} |")
        print(rows[-1], flush=True)
    return "\n".join(rows)


def main() -> None:
    """Write the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="runs per case without a loss; a fifth with a loss")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "curation.md")
    arguments = parser.parse_args()
    header = f"| case | items | noise, nats | {' | '.join(WAYS)} |\n|:--|--:|--:|{'--:|' * len(WAYS)}"
    error = math.sqrt(ALPHA * (1 - ALPHA) / arguments.runs)
    nulls = table(NULLS, arguments.runs, 1, lambda rate, _: f"{rate:.4f}")
    losses = table(LOSSES, arguments.runs // 5, 2, lambda rate, share: f"{rate:.2f} ({share:.0%})")
    arguments.out.write_text(
        f"""# Curated items: size and power by way of selecting

`python benchmarks/curation.py --runs {arguments.runs}`. Exact one-sided McNemar test at {ALPHA:g}; `runs: {RULE.runs}`,
`temperature: {RULE.temperature:g}`, `audit: {RULE.audit:g}`. The standard error of a size is {error:.4f}.

## Size: the candidate is not worse

{header}
{nulls}

The old rule fails a candidate that is not worse too often below an accuracy of .5, and too rarely above it.

## Power (and the share of the items that each model evaluates)

{header}
{losses}
""",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
