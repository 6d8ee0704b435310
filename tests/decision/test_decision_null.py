"""Candidates that are only noise: the whole decision's false-alarm rate is at most alpha."""

from __future__ import annotations

import math

import numpy as np

from gate.config import DecisionSettings
from gate.decision import decide
from gate.importers.build import task_samples
from gate.samples import ModelSamples, TaskSamples, pair

RUNS, TASKS, ITEMS = 400, 3, 80


def answers(task: str, scores: list[float], clusters: list[str] | None) -> TaskSamples:
    columns: dict[str, object] = {"item_id": [str(n) for n in range(len(scores))], "score": scores}
    if clusters is not None:
        columns["cluster"] = clusters
    return task_samples(task, "acc", columns)


LIMIT = 0.05 + 2 * math.sqrt(0.05 * 0.95 / RUNS)


def test_noise_fails_at_most_alpha_of_the_time() -> None:
    """Both models answer at random, with the same skill on the same items.

    The first task is right or wrong; in the second the items of a cluster are answered by one coin, as questions
    about one text often are; the third is scored in halves.
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
        fails += decide(pairs, settings, seed=run).verdict == "FAIL"
    assert 0.01 < fails / RUNS <= LIMIT
