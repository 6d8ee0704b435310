"""Candidates that differ by noise only: the false-alarm rate of the decision is at most alpha."""

from __future__ import annotations

import math

import numpy as np

from gate.config import DecisionSettings
from gate.decision.decide import run_tests
from gate.importers.build import task_samples
from gate.samples import ModelSamples, TaskSamples, pair

RUNS, TASKS, ITEMS = 250, 3, 80


def answers(task: str, scores: list[float], clusters: list[str] | None) -> TaskSamples:
    columns: dict[str, object] = {"item_id": [str(n) for n in range(len(scores))], "score": scores}
    if clusters is not None:
        columns["cluster"] = clusters
    return task_samples(task, "acc", columns)


LIMIT = 0.05 + 2 * math.sqrt(0.05 * 0.95 / RUNS)


def test_noise_fails_in_at_most_alpha_of_runs() -> None:
    """Both models answer at random, with the same probability of a right answer to each item.

    The first task has binary scores; in the second, the items of a cluster share one random number, like questions
    about one text; the third has scores in steps of one half.
    """
    rng = np.random.default_rng(1)
    settings = DecisionSettings(draws=2_000)
    clusters = [f"c{n // 4}" for n in range(ITEMS)]
    fails = 0
    for run in range(RUNS):
        sides: list[dict[str, TaskSamples]] = [{}, {}]
        for task in range(TASKS):
            skill = rng.beta(2, 2, ITEMS)
            for side in sides:
                coins = np.repeat(rng.random(ITEMS // 4), 4) if task == 1 else rng.random(ITEMS)
                scores = (coins < skill).astype(float)
                if task == 2:
                    scores = (scores + (coins < skill / 2)) / 2
                side[f"t{task}"] = answers(f"t{task}", scores.tolist(), clusters if task == 1 else None)
        pairs = pair(ModelSamples("a", sides[0]), ModelSamples("b", sides[1])).tasks
        fails += run_tests(pairs, settings, seed=run).p_value <= settings.alpha
    assert 0.01 < fails / RUNS <= LIMIT
