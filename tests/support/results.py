"""Results for report tests, decided by the real code from seeded synthetic samples."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from gate.config import DecisionSettings
from gate.decision import decide
from gate.importers.build import task_samples
from gate.report import Result, build_result
from gate.samples import ModelSamples, TaskSamples, pair

# task: number of items, accuracy of the baseline, share of its correct items that the damaged candidate loses
TASKS = {"addition": (400, 0.82, 0.16), "multiplication": (300, 0.74, 0.03), "subtraction": (120, 0.66, 0.05)}
MODELS = (("org/model-8b", "5f0c41d7"), ("out/model-8b-awq", "a91e77b2"))


@cache
def example(verdict: str) -> Result:
    """Return a PASS, a FAIL or an INCONCLUSIVE over three arithmetic tasks."""
    # PASS and INCONCLUSIVE have the same samples; INCONCLUSIVE requires a certificate that they cannot give
    certify = {"PASS": None, "FAIL": None, "INCONCLUSIVE": 0.005}[verdict]
    settings = DecisionSettings(draws=100_000, certify=certify, on_inconclusive="fail")
    rng = np.random.default_rng(21)
    tasks = {name: _samples(rng, name, *numbers, verdict == "FAIL") for name, numbers in TASKS.items()}
    sides = [
        ModelSamples(
            label,
            {name: pair_of_samples[index] for name, pair_of_samples in tasks.items()},
            {
                "fingerprint": fingerprint * 8,
                "engine": "transformers",
                "loaded_dtype": "bfloat16",
                "hardware": "NVIDIA L4",
                "device": "cuda",
            },
            (),
        )
        for index, (label, fingerprint) in enumerate(MODELS)
    ]
    pairing = pair(*sides)
    decision = decide(pairing.tasks, settings, seed=0)
    assert decision.verdict == verdict
    return build_result(decision, pairing, *sides, settings, 0, ["gate run --config gate.yml"])


def many_tasks(count: int, flips: int = 10, text: str = "x") -> Result:
    """Return a FAIL with `count` tasks, the first third of them worse, and `text` in every name and flip."""
    result = example("FAIL")
    tasks = [
        result.tasks[0].model_copy(
            update={
                "task": f"task-{n}-{text}",
                "p_holm": 0.001 if n < count // 3 else 1.0,
                "p_adjusted": 0.001 if n < count // 3 else 1.0,
                "fails": n < count // 3,
                "p_exact": (n + 1) / (count + 1),
            }
        )
        for n in range(count)
    ]
    flip = result.flips[0].model_copy(update=dict.fromkeys(("prompt", "target", "baseline", "candidate"), text))
    return result.model_copy(update={"tasks": tasks, "flips": [flip] * flips, "notes": [text] * 5})


def _samples(
    rng: np.random.Generator, task: str, items: int, accuracy: float, loss: float, damaged: bool
) -> tuple[TaskSamples, TaskSamples]:
    """Return the samples of the baseline and of the candidate."""
    a, b = rng.integers(11, 99, items), rng.integers(11, 99, items)
    sign, target = {"addition": ("+", a + b), "multiplication": ("×", a * b), "subtraction": ("-", a - b)}[task]
    baseline = rng.random(items) < accuracy
    regressed = rng.random(items) < (loss if damaged else 0.025)
    improved = rng.random(items) < 0.06
    candidate = np.where(baseline, ~regressed, improved)
    wrong = target + 10 ** rng.integers(0, 3, items)
    columns: dict[str, Any] = {
        "item_id": [f"{task}-{n:03}" for n in range(items)],
        "prompt": [f"What is {x} {sign} {y}?" for x, y in zip(a, b, strict=True)],
        "target": [str(value) for value in target],
    }
    sides = []
    for correct in (baseline, candidate):
        output = [str(value) for value in np.where(correct, target, wrong)]
        scored = {"score": correct.astype(float), "output": output}
        sides.append(task_samples(task, "exact_match", {**columns, **scored}))
    return sides[0], sides[1]
