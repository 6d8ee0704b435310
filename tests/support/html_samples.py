"""Samples of two models with a given number of flips of each kind, and the result of comparing them."""

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


def choice_samples(
    name: str, n: int, worse: int, better: int, other: int, seed: int, write: Callable[[str], str] = str
) -> tuple[TaskSamples, TaskSamples]:
    """Return both models' samples of a multiple-choice task; item i asks for the wind of day i, its target is i modulo 4.

    `worse`, `better` and `other` count the flips; `write` changes every text.
    """
    generator = np.random.default_rng(seed)
    target = np.arange(n) % 4
    kind = np.array(
        ["worse"] * worse + ["better"] * better + ["other"] * other + ["same"] * (n - worse - better - other)
    )
    base = np.where(np.isin(kind, ("better", "other")), (target + 1) % 4, target)
    new = base.copy()
    new[kind == "worse"] = (target[kind == "worse"] + 2) % 4
    new[kind == "better"] = target[kind == "better"]
    new[kind == "other"] = (target[kind == "other"] + 3) % 4
    sides = []
    for picked in (base, new):
        logprobs = generator.normal(-6, 1, (n, 4)).astype(np.float32)
        logprobs[np.arange(n), picked] = -1.0 - generator.random(n, dtype=np.float32)
        columns: dict[str, Any] = {
            "item_id": [f"{name}-{item:05d}" for item in range(n)],
            "score": (picked == target).astype(float),
            "output": picked.astype(str).tolist(),
            "target": target.astype(str).tolist(),
            "prompt": [write(f"{name}: where does the wind of day {item} blow from?") for item in range(n)],
            "choices": [[write(letter) for letter in LETTERS]] * n,
            "choice_logprobs": logprobs.tolist(),
            "kl": np.where(kind == "same", 0.002, 0.4) * generator.gamma(2, 0.5, n),
            "same_top": kind == "same",
        }
        sides.append(task_samples(name, "acc", columns))
    # the divergence was measured against the model with the fingerprint "base"
    return sides[0], TaskSamples(sides[1].task, sides[1].metric, sides[1].table, reference="base")


def text_samples(name: str, n: int, worse: int, write: Callable[[str], str] = str) -> tuple[TaskSamples, TaskSamples]:
    """Return both models' samples of a generation task; the candidate is wrong on the first `worse` items."""
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


def compare_samples(
    *tasks: tuple[TaskSamples, TaskSamples],
    labels: tuple[str, str] = ("models/base", "models/candidate"),
    advisory: tuple[str, ...] = (),
    **policy: Any,
) -> tuple[Result, Pairing]:
    """Pair and compare the samples of the tasks, as `gate compare` does."""
    sides = [
        ModelSamples(
            label,
            {samples[side].task: samples[side] for samples in tasks},
            {"fingerprint": "base" if side == 0 else "other", "engine": "none", "versions": {"numpy": "2"}},
        )
        for side, label in enumerate(labels)
    ]
    pairing = pair(*sides)
    settings = DecisionSettings(draws=2_000, **policy)
    decision = decide(pairing.tasks, settings, roles=dict.fromkeys(advisory, "advisory"))
    return build_result(decision, pairing, *sides, settings, 0, ["gate compare base candidate"]), pairing
