"""Calibration of the tests at a margin: exact sizes by enumeration, and simulated sizes over several tasks.

    python benchmarks/calibration_margin.py            # about eight minutes on one core
    python benchmarks/calibration_margin.py --only large-sample  # graded scores and clusters; the rest stays

Writes calibration_margin.md to benchmarks/results. `calibration.py` is the study at margin 0.
"""

import argparse
import itertools
import math
import time
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.signal import fftconvolve
from scipy.stats import binom

from gate.stats import Evidence, _score, _tango, _unconditional, combine, drop_interval, pooled_noninferiority

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LEVELS = {"0.05": 0.05, "1/365": 1 / 365}
DESIGNS = {
    "three tasks of 60 to 100 items, 5 % flips": (np.array([60, 80, 100]), np.full(3, 0.05)),
    "twelve tasks of 100 items, 6 % flips": (np.full(12, 100), np.full(12, 0.06)),
    "six tasks of 300 to 2,000 items, 5 to 12 % flips": (
        np.array([300, 500, 800, 1000, 1500, 2000]),
        np.array([0.12, 0.05, 0.1, 0.08, 0.06, 0.09]),
    ),
}
SIZES = (50, 100, 133, 300, 1000)
MARGINS = (0.01, 0.02, 0.03, 0.05)
LARGEST_RATE = 0.2
RATES = np.linspace(0.0, LARGEST_RATE**0.5, 400) ** 2
MIXED_ITEMS = 40
CAPS = (0.05, 0.1, 0.2, 0.3, None)


def _last(n: int) -> int:
    """Return the largest improvement count that matters at rates up to `LARGEST_RATE`."""
    return int(min(n, binom.isf(1e-12, n, LARGEST_RATE)))


def _critical(n: int, margin: float, level: float) -> tuple[Ints, Ints]:
    """Return, for c = 0, 1, ...: the smallest b that fails, and the largest b that is certified (-1 for none)."""
    worse, certified, fails, proves = [], [], 0, -1
    for c in range(_last(n) + 1):
        while fails <= n - c and _unconditional.margin_pvalue(fails, c, n, margin) > level:
            fails += 1
        while proves < n - c and _unconditional.pvalue(c, proves + 1, n, -margin) <= level:
            proves += 1
        worse.append(min(fails, n - c + 1))
        certified.append(min(proves, n - c))
    return np.array(worse), np.array(certified)


def _score_critical(c: Ints, n: int, margin: float, level: float, worse: bool) -> Ints:
    """Return the critical regressions of Tango's score test, as it is without the exact distribution."""
    b = np.arange(n + 1)[:, None]
    z = _tango.score_z(b, c[None, :], np.array(n), np.array(margin))
    limit = -special.ndtri(level)
    hit = z >= limit if worse else z <= -limit
    return np.asarray((~hit).sum(axis=0) if worse else hit.sum(axis=0) - 1)


def exact_sizes() -> dict[str, dict[str, float]]:
    """Return the largest probability of rejection over 400 improvement rates, with all outcomes of one task."""
    rows: dict[str, dict[str, float]] = {}
    for n, margin in itertools.product(SIZES, MARGINS):
        c = np.arange(_last(n) + 1)
        weight = binom.pmf(c[None, :], n, RATES[:, None])
        share = np.minimum((RATES + margin) / (1 - RATES), 1.0)[:, None]
        row = {}
        for name, level in LEVELS.items():
            worse, certified = _critical(n, margin, level)
            for label, low, high in (
                ("", worse, certified),
                (
                    "score ",
                    _score_critical(c, n, margin, level, True),
                    _score_critical(c, n, margin, level, False),
                ),
            ):
                row[f"{label}FAIL at {name}"] = float((weight * binom.sf(low - 1, n - c, share)).sum(axis=1).max())
                row[f"{label}certify at {name}"] = float((weight * binom.cdf(high, n - c, share)).sum(axis=1).max())
        rows[f"n = {n:,}, d = {100 * margin:g} points"] = row
    return rows


def _joint(n: int, q: float, margin: float) -> Floats:
    b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    inside = binom.pmf(c, n, q) * binom.pmf(b, np.maximum(n - c, 0), min(1.0, (q + margin) / (1 - q)))
    return np.where(b + c <= n, inside, 0.0)


def worst_mixtures() -> dict[str, dict[str, float]]:
    """Return the largest size of the tests on summed counts, over mixtures of three improvement rates.

    By Hoeffding's theorem the worst assignment of rates to items, given their mean, needs at most three values: 0, the
    largest possible rate and one between them.
    """
    n, rows = MIXED_ITEMS, {}
    for margin in (0.01, 0.05, 0.15):
        p = np.ones((2, n + 1, n + 1))
        for b, c in itertools.product(range(n + 1), repeat=2):
            if b + c <= n:
                p[:, b, c] = _unconditional.margin_pvalue(b, c, n, margin), _unconditional.pvalue(c, b, n, -margin)
        conceded = np.ones_like(p)
        conceded[0, 1:], conceded[1, :-1] = p[0, :-1], p[1, 1:]
        conceded[0, 0] = 1.0
        for c in range(n + 1):
            conceded[1, n - c, c] = 1.0
        for cap in CAPS:
            largest = (1 - margin) / 2 if cap is None else cap
            tables = conceded if cap is None else p
            best = np.zeros((2, len(LEVELS)))
            for none, most in itertools.product((0, 5, 10, 20, 30, 35, 38), (0, 1, 2, 3, 5, 8, 10, 15, 20, 30, 35, 40)):
                if none + most > n:
                    continue
                extremes = fftconvolve(_joint(none, 0.0, margin), _joint(most, largest, margin))
                for rate in np.linspace(0, largest**0.5, 9) ** 2:
                    chance = np.maximum(fftconvolve(extremes, _joint(n - none - most, float(rate), margin)), 0.0)
                    sizes = [[chance[table <= level].sum() for level in LEVELS.values()] for table in tables]
                    best = np.maximum(best, sizes)
            used = "any rate, one regression conceded" if cap is None else f"rates up to {cap:g}"
            rows[f"d = {100 * margin:g} points, {used}"] = {
                "FAIL at 0.05": float(best[0, 0]),
                "FAIL at 1/365": float(best[0, 1]),
                "certify at 0.05": float(best[1, 0]),
                "certify at 1/365": float(best[1, 1]),
            }
    return rows


def several_tasks(n: Ints, flips: Floats, margin: float, runs: int, seed: list[int]) -> dict[str, dict[str, float]]:
    """Return the shares of runs that fail, and that are certified, where every task's true drop is the margin."""
    generator = np.random.default_rng(seed)
    worse, better = (flips + margin) / 2, (flips - margin) / 2
    b = generator.binomial(n, worse, (runs, n.size))
    c = generator.binomial(n - b, better / (1 - worse))
    results: dict[str, list[float]] = {rule: [] for rule in ("omnibus", "pooled", "fisher", "max", "holm", "certify")}
    for run in range(runs):
        tasks = [
            Evidence.from_counts(*counts) for counts in zip(b[run].tolist(), c[run].tolist(), n.tolist(), strict=True)
        ]
        combined = combine(tasks, margin=margin)
        for rule in results:
            if rule != "certify":
                results[rule].append(getattr(combined, "max_drop" if rule == "max" else rule).pvalue)
        results["certify"].append(pooled_noninferiority(b[run], c[run], n, margin).pvalue)
    return {
        name: {rule: float(np.mean(np.array(p) <= level)) for rule, p in results.items()}
        for name, level in LEVELS.items()
    }


def exact_coverage(n: int = 40) -> dict[str, dict[str, float]]:
    """Return the smallest coverage of the 90 % interval over the improvement rates, with all outcomes of one task."""
    b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    kept = b + c <= n
    b, c = b[kept], c[kept]
    exact = drop_interval(b, c, n, 0.9)
    score = _tango.interval(b, c, np.full_like(b, n), 0.9)
    rows = {}
    for drop in (-0.1, 0.0, 0.01, 0.05, 0.2):
        row = {}
        for name, (low, high) in (("exact", exact), ("Tango", score)):
            covered = (low <= drop + 1e-12) & (high >= drop - 1e-12)
            rates = np.linspace(max(0.0, -drop), (1 - max(drop, 0.0)) / 2 - 1e-9, 200)
            rates = rates[rates + max(drop, 0) + max(rates.min(), 0) <= 1]
            chances = [
                (binom.pmf(c, n, q) * binom.pmf(b, n - c, min(1.0, (q + drop) / (1 - q))))[covered].sum() for q in rates
            ]
            row[name] = float(np.min(chances))
        rows[f"n = {n}, drop {100 * drop:g} points"] = row
    return rows


def other_scores(runs: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the sizes of the large-sample tests, for graded scores and clusters with a mean drop of the margin."""
    generator = np.random.default_rng([seed, 5])
    rows = {}
    for units, margin in itertools.product((50, 100, 300, 1000), (0.01, 0.02, 0.05)):
        rows[f"{units:,} graded items, 20 % change, d = {100 * margin:g} points"] = _large_sample(
            margin, runs, lambda size, n=units, d=margin: (_graded(generator, size, n, 0.2, d), np.ones((size, n)))
        )
    for units in (100, 300, 1000):
        rows[f"{units:,} items, rare losses of the whole score, d = 2 points"] = _large_sample(
            0.02, runs, lambda size, n=units: ((generator.random((size, n)) < 0.02) * 1.0, np.ones((size, n)))
        )
    for (units, items), flips, margin in itertools.product(((30, 5), (100, 5), (200, 3)), (0.03, 0.1), (0.01, 0.03)):
        for together in (True, False):
            kind = "flip together" if together else "flip alone"
            rows[f"{units} clusters of {items} that {kind} ({100 * flips:g} %), d = {100 * margin:g} points"] = (
                _large_sample(
                    margin,
                    runs,
                    lambda size, k=units, j=items, f=flips, d=margin, t=together: (
                        _clusters(generator, size, k, j, f, d, t),
                        np.full((size, k), float(j)),
                    ),
                )
            )
    return rows


def _graded(generator: np.random.Generator, runs: int, n: int, changed: float, margin: float) -> Floats:
    up = (changed + margin / 0.4) / 2
    u, size = generator.random((runs, n)), 0.8 * generator.random((runs, n))
    return np.where(u < up, size, np.where(u < changed, -size, 0.0))


def _clusters(
    generator: np.random.Generator, runs: int, units: int, items: int, flips: float, margin: float, together: bool
) -> Floats:
    u = generator.random((runs, units, 1 if together else items))
    signs = np.where(u < (flips + margin) / 2, 1.0, np.where(u < flips, -1.0, 0.0))
    return np.asarray(signs.sum(axis=2) * (items if together else 1))


def _large_sample(margin: float, runs: int, draw) -> dict[str, float]:  # type: ignore[no-untyped-def]
    row = {f"{kind} at {name}": 0.0 for kind in ("FAIL", "certify") for name in ("0.05", "1/365")}
    batch = 1000
    for _ in range(runs // batch):
        sums, sizes = draw(batch)
        away = sums - margin * sizes
        powers = np.array([away.sum(axis=1), np.square(away).sum(axis=1), np.power(away, 4).sum(axis=1)])
        largest, weight = sizes.max(axis=1), np.square(sizes).sum(axis=1)
        worse, certified = _score_tests(*powers, largest, weight, margin)
        for name, level in LEVELS.items():
            row[f"FAIL at {name}"] += float((worse <= level).sum()) / runs
            row[f"certify at {name}"] += float((certified <= level).sum()) / runs
    return row


def _score_tests(
    total: Floats, square: Floats, fourth: Floats, largest: Floats | float, weight: Floats | float, margin: float
) -> tuple[Floats, Floats]:
    """Return the p-values of `Evidence.pvalue_at` (without the sign-flip test) and of `unit_noninferiority`.

    total, square and fourth are sums of powers of the units' differences minus the margin. largest is the number of
    items of the largest unit, and weight the sum of the squared numbers of items.
    """
    gain, loss = largest * np.asarray(1 + margin), largest * np.asarray(1 - margin)
    worse = _score.tail(total, square + gain**2, fourth + gain**4, gain)
    floor = np.asarray(weight * margin * (1 - margin))
    return worse, _score.proof_tail(-total, square + loss**2, fourth + loss**4, loss, floor)


def two_values() -> dict[str, dict[str, float]]:
    """Return the largest exact size where the difference of an item has one of two values, over many such designs."""
    common = np.concatenate([[0.0], *(sign * np.geomspace(0.0005, 0.9, 25) for sign in (1.0, -1.0))])
    rows = {}
    for n in (20, 50, 100, 300, 1000, 5000):
        k = np.arange(n + 1)
        best = dict.fromkeys((f"{kind} at {name}" for kind in ("FAIL", "certify") for name in LEVELS), 0.0)
        for margin, often, rare in itertools.product(
            (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4), common.tolist(), (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0)
        ):
            share = (margin - often) / (rare - often) if rare != often else 0.0
            if not 0.0 < share < 1.0:
                continue
            u, v = rare - margin, often - margin
            sums = [k * u**power + (n - k) * v**power for power in (1, 2, 4)]
            chance = binom.pmf(k, n, share)
            for kind, p in zip(("FAIL", "certify"), _score_tests(*sums, 1.0, float(n), margin), strict=True):
                for name, level in LEVELS.items():
                    best[f"{kind} at {name}"] = max(best[f"{kind} at {name}"], float(chance[p <= level].sum()))
        rows[f"n = {n:,}"] = best
    return rows


def _limit(column: str, runs: int) -> float:
    """Return the level of a column of a table plus two standard errors; the level itself where runs is 0 (exact)."""
    level = LEVELS[column.rsplit(" ", 1)[-1]]
    return level + (2 * math.sqrt(level * (1 - level) / runs) if runs else 1e-9)


def _table(rows: dict[str, dict[str, float]], runs: int) -> str:
    columns = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, row in rows.items():
        cells = []
        for column in columns:
            mark = "**" if row[column] > _limit(column, runs) else ""
            cells.append(f"{mark}{row[column]:.{5 if '365' in column else 4}f}{mark}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


LARGE_SAMPLE, COVERAGE = "## Graded scores and clusters: large-sample tests\n", "## Coverage of the 90 % interval\n"


def large_sample_section(runs: int, seed: int) -> str:
    """Return the section on the large-sample tests."""
    return f"""{LARGE_SAMPLE}
{runs:,} runs. FAIL is the score test on the differences alone; the decision also requires a significant drop.

{_table(other_scores(runs, seed), runs)}
Exact sizes where every item's difference has one of two values, so that a common small change balances a rare large
one: the largest over 7 margins, 51 common and 6 rare values.

{_table(two_values(), 0)}
"""


def main() -> None:
    """Run the study and write its page."""
    parser = argparse.ArgumentParser(description="Calibration of the tests at a margin.")
    parser.add_argument("--runs", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=20260210)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--only", choices=["large-sample"])
    arguments = parser.parse_args()
    page = arguments.out / "calibration_margin.md"
    if arguments.only:
        before, rest = page.read_text().split(LARGE_SAMPLE)
        section = large_sample_section(5 * arguments.runs, arguments.seed)
        page.write_text(before + section + COVERAGE + rest.split(COVERAGE)[1])
        return
    started = time.perf_counter()
    # equal counts occur often
    _unconditional.pvalue, _unconditional.margin_pvalue = map(
        cache, (_unconditional.pvalue, _unconditional.margin_pvalue)
    )
    single = exact_sizes()
    print(f"{time.perf_counter() - started:6.0f} s  one task")
    mixtures = worst_mixtures()
    print(f"{time.perf_counter() - started:6.0f} s  worst mixtures")
    few = max(1000, arguments.runs // 10)
    several = {}
    for number, (name, (n, flips)) in enumerate(DESIGNS.items()):
        for margin in (0.005, 0.02):
            runs = few if n.max() > 100 else arguments.runs
            sizes = several_tasks(n, flips, margin, runs, [arguments.seed, number, round(1000 * margin)])
            several[f"{name}, d = {100 * margin:g} points ({runs:,} runs)"] = (sizes, runs)
            print(f"{time.perf_counter() - started:6.0f} s  {name}")
    large_sample = large_sample_section(5 * arguments.runs, arguments.seed)
    print(f"{time.perf_counter() - started:6.0f} s  graded scores and clusters")
    coverage = exact_coverage(20)
    names = list(coverage["n = 20, drop 0 points"])
    exact = [
        row[column] - LEVELS[column.rsplit(" ", 1)[-1]]
        for row in single.values()
        for column in row
        if "score" not in column
    ]
    command = f"python benchmarks/calibration_margin.py --runs {arguments.runs} --seed {arguments.seed}"
    text = f"""# Calibration at a margin

Made by `{command}` in {time.perf_counter() - started:.0f} s on a shared machine.
d is the margin or the bound to certify. FAIL tests "the drop is at most d", certify tests "the drop is at least d";
every size is at a true drop of exactly d. Bold: above the level (exact sizes), or above the level plus two standard
errors (simulated sizes).

## One task, independent binary items: exact sizes

All outcomes are enumerated; the largest size over {RATES.size} improvement rates from 0 to {LARGEST_RATE:g}.
"score": Tango's score test, which earlier versions used. The largest difference between the size of an exact test and
its level is {max(exact):+.5f}.

{_table(single, 0)}
## Several tasks as one: the worst mixture of rates

Summed counts of {MIXED_ITEMS} items, of which some have the improvement rate 0, some the largest rate and the others a
rate between them. Where a task may improve on 30 % of its items or more, one regression is conceded.

{_table(mixtures, 0)}
## Rules over several tasks

Every task's true drop is d.

"""
    for name, (sizes, runs) in several.items():
        columns = list(next(iter(sizes.values())))
        table = {
            f"level {level}": {f"{rule} at {level}": value for rule, value in row.items()}
            for level, row in sizes.items()
        }
        lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
        for row_name, row in table.items():
            cells = [f"**{v:.4f}**" if v > _limit(column, runs) else f"{v:.4f}" for column, v in row.items()]
            lines.append(f"| {row_name} | " + " | ".join(cells) + " |")
        text += f"{name}:\n\n" + "\n".join(lines) + "\n\n"
    text += f"""{large_sample}{COVERAGE}
The smallest coverage over 200 improvement rates, with all outcomes enumerated.

| | {" | ".join(names)} |
|---|{"---|" * len(names)}
"""
    text += "\n".join(
        f"| {name} | " + " | ".join(f"{v:.4f}" for v in row.values()) + " |" for name, row in coverage.items()
    )
    page.write_text(text + "\n")


if __name__ == "__main__":
    main()
