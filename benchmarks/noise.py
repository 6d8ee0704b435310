"""A candidate judged against cached answers and against the A/A control: simulated, and with a real model.

    python benchmarks/noise.py [--simulations 4000] [--real FOLDER]

Simulated: the margin of an item (log-probability of the right choice minus the best other, nats) is normal, and each
run adds its own noise. The candidate's stack also lowers every margin by a drift. B is the baseline on its old stack,
A the baseline on the candidate's stack, C the candidate there.

Real (`--real`, a folder for the models): the demo's baseline, cached in bfloat16, against a lossless candidate in
float32 whose MLP channels are in another order, and against the demo's damaged candidate.

Writes benchmarks/results/noise.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gate.decision.noise import Control
from gate.engines.stack import processor
from gate.stats import excess_flips, mcnemar_exact

RESULTS = Path(__file__).parent / "results" / "noise.md"
ITEMS = 4_000
MEAN, SPREAD, NOISE = 0.7, 1.0, 0.2  # nats; an accuracy of 75 %, and noise as of two evaluations of one model
ALPHA, SHIFT_LEVEL = 0.05, 0.01
DAMAGE = 0.06  # nats, a loss of about 2 points


def simulate(simulations: int, drift: float, damage: float, seed: int = 0, items: int = ITEMS) -> dict[str, float]:
    """Return how often each test rejects, by name."""
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(("cache", "control", "shift", "moved"), 0)
    for _ in range(simulations):
        margins = rng.normal(MEAN, SPREAD, items)
        b, a, c = (margins + rng.normal(0.0, NOISE, items) - loss > 0 for loss in (0.0, drift, drift + damage))
        counts["cache"] += _worse(b, c) <= ALPHA
        counts["control"] += _worse(a, c) <= ALPHA
        counts["shift"] += min(1.0, 2 * min(_worse(b, a), _worse(a, b))) <= SHIFT_LEVEL
        counts["moved"] += excess_flips(a * 1.0, b * 1.0, c * 1.0).pvalue <= ALPHA
    return {name: count / simulations for name, count in counts.items()}


def _worse(baseline: np.ndarray, candidate: np.ndarray) -> float:
    return mcnemar_exact(int((baseline & ~candidate).sum()), int((~baseline & candidate).sum())).pvalue


def simulated_rows(simulations: int) -> Iterator[str]:
    """Yield the rows of the table of simulations."""
    for damage in (0.0, DAMAGE):
        for drift in (0.0, 0.01, 0.03, 0.1):
            rates = simulate(simulations, drift, damage, seed=round(1000 * (drift + 7 * damage)))
            name = "lossless" if damage == 0 else f"worse by {DAMAGE:g} nats"
            cells = " | ".join(f"{100 * rates[key]:.1f} %" for key in ("cache", "control", "shift", "moved"))
            yield f"| {name} | {drift:g} | {cells} |"


def real_rows(folder: Path) -> Iterator[str]:
    """Yield one row per candidate and policy of `gate run` on the demo's tasks."""
    import yaml

    import gate
    from gate.demo.models import write_baseline, write_damaged
    from gate.demo.suite import write_suite

    keys = {"prompt": "{{ question }}", "choices": "{{ choices }}", "answer": "{{ gold }}"}
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.lossless import permute_channels

    folder.mkdir(parents=True, exist_ok=True)
    base = folder / "baseline"
    if not base.exists():
        write_baseline(base)
    permute_channels(base, folder / "lossless")
    if not (folder / "damaged").exists():
        write_damaged(base, folder / "damaged")
    tasks = [
        {"name": task.name, "file": str(task.file.relative_to(folder)), "metric": task.metric, **keys}
        for task in write_suite(folder / "suite")
    ]
    for candidate in ("lossless", "damaged"):
        for control in ("never", "auto"):
            config = {
                "version": 1,
                "baseline": {"model": "baseline", "dtype": "bfloat16"},
                "candidate": {"model": candidate, "dtype": "float32"},
                "engine": {"device": "cpu"},
                "tasks": tasks,
                "decision": {"control": control},
                "report": {"markdown": None, "html": None, "json": None},
            }
            path = folder / "gate.yml"
            path.write_text(yaml.safe_dump(config, sort_keys=False))
            result = gate.run(path)
            regressions = sum(task.regressions for task in result.gating)
            improvements = sum(task.improvements for task in result.gating)
            cells = [candidate, control, result.verdict, f"{result.p_value:.3g}", f"{regressions}/{improvements}"]
            yield f"| {' | '.join([*cells, *_noise_cells(result.control)])} |"


def _noise_cells(control: Control | None) -> list[str]:
    if control is None or control.floor is None or control.excess is None:
        return ["-"] * 4
    floor, excess = control.floor, control.excess
    return [
        f"{floor.flips} of {floor.items:,}",
        f"{floor.kl_mean:.2g}",
        f"{floor.p_value:.2g}",
        f"{excess.candidate_alone} and {excess.control_alone}, {excess.p_value:.2g}",
    ]


def main() -> None:
    """Run the study and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=4_000)
    parser.add_argument("--real", type=Path)
    arguments = parser.parse_args()
    started = time.monotonic()
    error = 100 * np.sqrt(ALPHA * (1 - ALPHA) / arguments.simulations)
    lines = [
        "# Was it the model or the stack?",
        "",
        f"Made by `benchmarks/noise.py`. {arguments.simulations:,} simulations per row, {ITEMS:,} items, margins",
        f"with mean {MEAN:g} and standard deviation {SPREAD:g} nats, noise of {NOISE:g} nats per run. Columns: how",
        "often the exact McNemar test at 5 % fails the candidate against the cached baseline and against the control;",
        "how often the two-sided test at 1 % reports an environment shift; how often the candidate",
        f"moved more than noise, at 5 % (a rate of 5 % has a standard error of {error:.2f} points).",
        "",
        "| Candidate | Drift of the stack, nats | FAIL against the cache | FAIL against the control "
        "| Environment shift | Moved more than noise |",
        "|:--|--:|--:|--:|--:|--:|",
        *simulated_rows(arguments.simulations),
    ]
    if arguments.real is not None:
        lines += [
            "",
            f"SmolLM2-135M on the demo's tasks, `gate run` on a CPU ({processor()[0]}). The baseline is cached in",
            "bfloat16, and the candidate runs in float32. Lossless: the baseline's weights with the hidden channels of",
            "every MLP in another order. Damaged: the demo's 3-bit candidate. `docs/how-to/noise.md` explains u and v.",
            "",
            "| Candidate | `control` | Verdict | p | Worse/better | Noise floor, flips | KL, nats "
            "| Shift, two-sided p | u and v, p |",
            "|:--|:--|:--|--:|--:|--:|--:|--:|--:|",
            *real_rows(arguments.real),
        ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
