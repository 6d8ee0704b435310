"""Curation: informative items are those on which the baseline itself varies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gate.errors import SampleError
from gate.evaluation.curate import keep_informative, sample_choices
from gate.importers.build import task_samples
from gate.samples.record import mean_scores


def task_of(metric: str, choices: list[list[str]], gold: list[int]) -> Any:
    items = tuple(
        SimpleNamespace(item_id=f"i{n}", choices=tuple(one), target_index=right)
        for n, (one, right) in enumerate(zip(choices, gold, strict=True))
    )
    return SimpleNamespace(name="t", metric=metric, items=items, fingerprint="f" * 64)


def samples_of(logprobs: list[list[float]]) -> Any:
    count = len(logprobs)
    return task_samples(
        "t",
        "acc",
        {
            "item_id": [f"i{n}" for n in range(count)],
            "score": [1.0] * count,
            "target": ["0"] * count,
            "output": ["0"] * count,
            "choice_logprobs": logprobs,
        },
    )


def test_the_mean_score_is_the_tempered_probability() -> None:
    # at temperature 0.3, a gap of 0.3 nats means odds of e to 1
    task = task_of("acc", [["a", "b"]] * 3, [0, 1, 0])
    means = sample_choices(task, samples_of([[-1.0, -1.3], [-1.0, -1.3], [-1.0, -30.0]]), 20_000, 0.3, seed=0)
    odds = np.e / (1 + np.e)
    np.testing.assert_allclose(list(means.values()), [odds, 1 - odds, 1.0], atol=0.015)


def test_acc_norm_samples_by_the_normalised_score() -> None:
    # per character the long choice is likelier: -6/8 against -2/2
    task = task_of("acc_norm", [["ab", "abcdefgh"]], [1])
    means = sample_choices(task, samples_of([[-2.0, -6.0]]), 20_000, 0.3, seed=0)
    gap = (-6 / 8 + 2 / 2) * 5 / 0.3
    assert means["i0"] == pytest.approx(1 / (1 + np.exp(-gap)), abs=0.01)


def test_the_same_seed_gives_the_same_samples() -> None:
    task = task_of("acc", [["a", "b"]] * 40, [0] * 40)
    samples = samples_of([[-1.0, -1.2]] * 40)
    draws = [sample_choices(task, samples, 5, 0.3, seed=seed) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_repeats_are_averaged_per_item() -> None:
    samples = task_samples(
        "t",
        "exact_match",
        {
            "item_id": ["a", "a", "b", "b"],
            "repeat": [0, 1, 0, 1],
            "score": [1.0, 0.0, 1.0, 1.0],
            "target": ["x"] * 4,
            "output": ["x"] * 4,
        },
    )
    assert mean_scores(samples.table) == {"a": 0.5, "b": 1.0}


def test_only_varying_items_are_kept_and_the_others_are_counted() -> None:
    task = task_of("acc", [["a", "b"]] * 4, [0] * 4)
    means = {"i0": 0.0, "i1": 0.3, "i2": 0.9, "i3": 1.0}
    curation = keep_informative(task, "b" * 64, means, 10, 0.3, 0)
    assert curation.kept == ["i1", "i2"]
    assert (curation.total, curation.always_right, curation.always_wrong) == (4, 1, 1)


def test_nothing_left_is_an_error() -> None:
    task = task_of("acc", [["a", "b"]], [0])
    with pytest.raises(SampleError, match="nothing would be left"):
        keep_informative(task, "b", {"i0": 1.0}, 10, 0.3, 0)


def test_samples_without_loglikelihoods_are_an_error() -> None:
    task = task_of("acc", [["a", "b"]] * 2, [0, 0])
    with pytest.raises(SampleError, match="no log-likelihoods of item i1"):
        sample_choices(task, samples_of([[-1.0, -2.0]]), 5, 0.3, 0)
