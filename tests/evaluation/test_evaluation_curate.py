"""Curation: which items carry signal is known from the baseline's own spread, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gate.errors import SampleError
from gate.evaluation.curate import Runs, curation, repeated_texts, sampled_choices
from gate.importers.build import task_samples


def asked(metric: str, choices: list[list[str]], gold: list[int]) -> Any:
    items = tuple(
        SimpleNamespace(item_id=f"i{n}", choices=tuple(one), target_index=right)
        for n, (one, right) in enumerate(zip(choices, gold, strict=True))
    )
    return SimpleNamespace(name="t", metric=metric, items=items, fingerprint="f" * 64)


def scored(logprobs: list[list[float]]) -> Any:
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


def test_the_share_right_is_the_tempered_probability() -> None:
    # at temperature 0.3 a gap of 0.3 nats is odds of e to 1
    task = asked("acc", [["a", "b"]] * 3, [0, 1, 0])
    found = sampled_choices(task, scored([[-1.0, -1.3], [-1.0, -1.3], [-1.0, -30.0]]), 20_000, 0.3, seed=0)
    odds = np.e / (1 + np.e)
    np.testing.assert_allclose(found.right, [odds, 1 - odds, 1.0], atol=0.015)


def test_acc_norm_draws_by_the_normalised_score() -> None:
    # per character the long choice is the likelier one: -6/8 against -2/2
    task = asked("acc_norm", [["ab", "abcdefgh"]], [1])
    found = sampled_choices(task, scored([[-2.0, -6.0]]), 20_000, 0.3, seed=0)
    gap = (-6 / 8 + 2 / 2) * 5 / 0.3
    assert found.right[0] == pytest.approx(1 / (1 + np.exp(-gap)), abs=0.01)


def test_the_same_seed_draws_the_same() -> None:
    task = asked("acc", [["a", "b"]] * 40, [0] * 40)
    samples = scored([[-1.0, -1.2]] * 40)
    draws = [sampled_choices(task, samples, 5, 0.3, seed=seed).right.tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_repeats_of_a_text_are_averaged_by_item() -> None:
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
    found = repeated_texts(samples)
    assert dict(zip(found.items, found.right.tolist(), strict=True)) == {"a": 0.5, "b": 1.0}


def test_only_items_that_vary_are_kept_and_the_others_counted() -> None:
    task = asked("acc", [["a", "b"]] * 4, [0] * 4)
    found = Runs(("i0", "i1", "i2", "i3"), np.array([0.0, 0.3, 0.9, 1.0]))
    chosen = curation(task, "b" * 64, found, 10, 0.3, 0)
    assert chosen.kept == ["i1", "i2"]
    assert (chosen.total, chosen.always_right, chosen.always_wrong) == (4, 1, 1)


def test_nothing_left_is_an_error() -> None:
    task = asked("acc", [["a", "b"]], [0])
    with pytest.raises(SampleError, match="nothing would be left"):
        curation(task, "b", Runs(("i0",), np.array([1.0])), 10, 0.3, 0)


def test_samples_without_loglikelihoods_are_an_error() -> None:
    task = asked("acc", [["a", "b"]] * 2, [0, 0])
    with pytest.raises(SampleError, match="no log-likelihoods of item i1"):
        sampled_choices(task, scored([[-1.0, -2.0]]), 5, 0.3, 0)
