"""Results to show, made by the real decision on answers that anybody can make again."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from gate.config import DecisionSettings
from gate.decision import decide
from gate.importers.build import task_samples
from gate.report import Result, build_result
from gate.samples import ModelSamples, TaskSamples, pair

# task: items, share that the baseline answers, share of its right answers that a damaged candidate loses
TASKS = {"addition": (400, 0.82, 0.16), "multiplication": (300, 0.74, 0.03), "subtraction": (120, 0.66, 0.05)}


@cache
def example(verdict: str) -> Result:
    """A PASS, a FAIL or an INCONCLUSIVE over three tasks of questions about numbers."""
    # the INCONCLUSIVE candidate is as good as the PASS one; more is asked of it
    certify = {"PASS": None, "FAIL": None, "INCONCLUSIVE": 0.005}[verdict]
    settings = DecisionSettings(draws=100_000, certify=certify, on_inconclusive="fail")
    rng = np.random.default_rng(21)
    tasks = {name: _answers(rng, name, *numbers, verdict == "FAIL") for name, numbers in TASKS.items()}
    sides = [
        ModelSamples(
            label,
            {name: both[which] for name, both in tasks.items()},
            {
                "fingerprint": print_ * 8,
                "engine": "transformers",
                "loaded_dtype": "bfloat16",
                "hardware": "NVIDIA L4",
                "device": "cuda",
            },
            (),
        )
        for which, (label, print_) in enumerate(
            (("org/model-8b", "5f0c41d7"), ("out/model-8b-awq", "a91e77b2"))
        )
    ]
    pairing = pair(*sides)
    decision = decide(pairing.tasks, settings, seed=0)
    assert decision.verdict == verdict
    return build_result(decision, pairing, *sides, settings, 0, ["gate run --config gate.yml"])


def many_tasks(count: int, flips: int = 10, text: str = "x") -> Result:
    """A FAIL with so many tasks, the first a third of them worse, and with long texts."""
    result = example("FAIL")
    one = result.tasks[0]
    tasks = [
        one.model_copy(
            update={
                "task": f"task-{n}-{text}",
                "p_holm": 0.001 if n < count // 3 else 1.0,
                "p_exact": (n + 1) / (count + 1),
            }
        )
        for n in range(count)
    ]
    flip = result.flips[0].model_copy(
        update=dict.fromkeys(("prompt", "target", "baseline", "candidate"), text)
    )
    return result.model_copy(update={"tasks": tasks, "flips": [flip] * flips, "notes": [text] * 5})


def _answers(
    rng: np.random.Generator, task: str, items: int, right: float, lost: float, damaged: bool
) -> tuple[TaskSamples, TaskSamples]:
    a, b = rng.integers(11, 99, items), rng.integers(11, 99, items)
    sign, truth = {"addition": ("+", a + b), "multiplication": ("×", a * b), "subtraction": ("-", a - b)}[
        task
    ]
    baseline = rng.random(items) < right
    lost_now = rng.random(items) < (lost if damaged else 0.025)
    gained = rng.random(items) < 0.06
    candidate = np.where(baseline, ~lost_now, gained)
    wrong = truth + 10 ** rng.integers(0, 3, items)
    columns: dict[str, Any] = {
        "item_id": [f"{task}-{n:03}" for n in range(items)],
        "prompt": [f"What is {x} {sign} {y}?" for x, y in zip(a, b, strict=True)],
        "target": [str(value) for value in truth],
    }
    sides = []
    for good in (baseline, candidate):
        said = np.where(good, truth, wrong)
        answers = {"score": good.astype(float), "output": [str(value) for value in said]}
        sides.append(task_samples(task, "exact_match", {**columns, **answers}))
    return sides[0], sides[1]
