"""Two models' samples with as many flips of each kind as a test asks for, and the result over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gate.config import DecisionSettings
from gate.decision import decide
from gate.importers.build import task_samples
from gate.report import Result, build_result
from gate.samples import ModelSamples, Pairing, TaskSamples, pair

LETTERS = ["north", "east", "south", "west"]


def choices_task(
    name: str, n: int, worse: int, better: int, other: int, seed: int, write: Callable[[str], str] = str
) -> tuple[TaskSamples, TaskSamples]:
    """One multiple-choice task: item i asks where the wind of day i blows from; the right answer is i modulo 4."""
    generator = np.random.default_rng(seed)
    right = np.arange(n) % 4
    kind = np.array(
        ["worse"] * worse + ["better"] * better + ["other"] * other + ["same"] * (n - worse - better - other)
    )
    base = np.where(np.isin(kind, ("better", "other")), (right + 1) % 4, right)
    new = base.copy()
    new[kind == "worse"] = (right[kind == "worse"] + 2) % 4
    new[kind == "better"] = right[kind == "better"]
    new[kind == "other"] = (right[kind == "other"] + 3) % 4
    sides = []
    for picked in (base, new):
        logprobs = generator.normal(-6, 1, (n, 4)).astype(np.float32)
        logprobs[np.arange(n), picked] = -1.0 - generator.random(n, dtype=np.float32)
        columns: dict[str, Any] = {
            "item_id": [f"{name}-{item:05d}" for item in range(n)],
            "score": (picked == right).astype(float),
            "output": picked.astype(str).tolist(),
            "target": right.astype(str).tolist(),
            "prompt": [write(f"{name}: where does the wind of day {item} blow from?") for item in range(n)],
            "choices": [[write(letter) for letter in LETTERS]] * n,
            "choice_logprobs": logprobs.tolist(),
            "kl": np.where(kind == "same", 0.002, 0.4) * generator.gamma(2, 0.5, n),
            "same_top": kind == "same",
        }
        sides.append(task_samples(name, "acc", columns))
    # measured against the baseline, whose fingerprint the sides carry
    return sides[0], TaskSamples(sides[1].task, sides[1].metric, sides[1].table, reference="base")


def texts_task(
    name: str, n: int, worse: int, write: Callable[[str], str] = str
) -> tuple[TaskSamples, TaskSamples]:
    """One task of generated text: the first items' answers end wrong with the candidate."""
    sides = []
    for wrong in (0, worse):
        endings = ["seven" if item < wrong else "eight" for item in range(n)]
        columns: dict[str, Any] = {
            "item_id": [f"{name}-{item:05d}" for item in range(n)],
            "score": [float(ending == "eight") for ending in endings],
            "output": [
                write(f"Three boxes hold two each.\nTwo more make {ending}.\nSo the answer to {item} is {ending}.")
                for item, ending in enumerate(endings)
            ],
            "target": ["eight"] * n,
            "prompt": [write(f"{name}: how many in sum {item}?") for item in range(n)],
        }  # fmt: skip
        sides.append(task_samples(name, "exact_match", columns))
    return sides[0], sides[1]


def compared(
    *tasks: tuple[TaskSamples, TaskSamples],
    labels: tuple[str, str] = ("models/base", "models/candidate"),
    advisory: tuple[str, ...] = (),
    **policy: Any,
) -> tuple[Result, Pairing]:
    """Pair the tasks and judge them, as `gate compare` does."""
    sides = [
        ModelSamples(
            label,
            {both[place].task: both[place] for both in tasks},
            {"fingerprint": "base" if place == 0 else "other", "engine": "none", "versions": {"numpy": "2"}},
        )
        for place, label in enumerate(labels)
    ]
    pairing = pair(*sides)
    settings = DecisionSettings(draws=2_000, **policy)
    decision = decide(pairing.tasks, settings, roles=dict.fromkeys(advisory, "advisory"))
    return build_result(decision, pairing, *sides, settings, 0, ["gate compare base candidate"]), pairing
