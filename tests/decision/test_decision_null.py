"""Candidates that are only noise: the whole decision's false-alarm rate is at most alpha."""

from __future__ import annotations

import math

import numpy as np

from gate.config import DecisionSettings
from gate.decision import decide
from gate.samples import ModelSamples, TaskSamples, pair
from gate.samples.importers.build import task_samples

RUNS, TASKS, ITEMS = 400, 3, 80


def answers(task: str, scores: list[float], clusters: list[str] | None) -> TaskSamples:
    columns: dict[str, object] = {"item_id": [str(n) for n in range(len(scores))], "score": scores}
    if clusters is not None:
        columns["cluster"] = clusters
    return task_samples(task, "acc", columns)


def false_alarms(seed: int, clustered: bool, graded: bool) -> float:
    """Share of FAILs where both models answer at random with the same skill on the same items."""
    rng = np.random.default_rng(seed)
    settings = DecisionSettings(draws=2_000)
    clusters = [f"c{n // 4}" for n in range(ITEMS)] if clustered else None
    fails = 0
    for run in range(RUNS):
        sides: list[dict[str, TaskSamples]] = [{}, {}]
        for task in range(TASKS):
            skill = rng.beta(2, 2, ITEMS)
            for side in sides:
                # the items of a cluster are answered by one coin, as questions about one text often are
                coins = np.repeat(rng.random(ITEMS // 4), 4) if clustered else rng.random(ITEMS)
                scores = np.round(coins * skill, 2) if graded else (coins < skill).astype(float)
                side[f"t{task}"] = answers(f"t{task}", scores.tolist(), clusters)
        pairs = pair(ModelSamples("a", sides[0]), ModelSamples("b", sides[1])).tasks
        fails += decide(pairs, settings, seed=run).verdict == "FAIL"
    return fails / RUNS


LIMIT = 0.05 + 2 * math.sqrt(0.05 * 0.95 / RUNS)


def test_right_or_wrong_noise_fails_at_most_alpha_of_the_time() -> None:
    assert 0.005 < false_alarms(1, clustered=False, graded=False) <= LIMIT


def test_clustered_noise_fails_at_most_alpha_of_the_time() -> None:
    assert 0.005 < false_alarms(2, clustered=True, graded=False) <= LIMIT


def test_graded_noise_fails_at_most_alpha_of_the_time() -> None:
    assert 0.005 < false_alarms(3, clustered=False, graded=True) <= LIMIT
