"""The divergence between two stored distributions: a lower bound, and zero for equal ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.importers.build import task_samples
from gate.samples import ModelSamples, PairedTask, pair
from gate.samples.noise import divergences

FloatArray = np.ndarray
LOGITS = st.lists(st.floats(-4, 4), min_size=12, max_size=12)


def log_softmax(logits: list[float]) -> FloatArray:
    values = np.array(logits)
    return np.asarray(values - np.log(np.exp(values).sum()))


def top(logprobs: FloatArray, k: int) -> dict[str, list[object]]:
    """The columns of one row that stores the k likeliest of 12 tokens."""
    tokens = np.argsort(-logprobs, kind="stable")[:k]
    kept = logprobs[tokens].astype(np.float16)
    return {
        "top_tokens": [tokens.astype(np.int32)],
        "top_logprobs": [kept],
        "tail_mass": [max(0.0, 1.0 - float(np.exp(kept.astype(float)).sum()))],
    }


def paired(*sides: dict[str, list[object]]) -> PairedTask:
    columns = {"item_id": ["i"], "score": [1.0], "output": ["0"], "target": ["0"]}
    runs = [ModelSamples("m", {"t": task_samples("t", "acc", {**columns, **side})}) for side in sides]
    return pair(*runs).tasks[0]


def divergence_of(p: FloatArray, q: FloatArray, k: int) -> float:
    values = divergences(paired(top(p, k), top(q, k)))
    assert values is not None
    return float(values[0])


@settings(deadline=None)
@given(LOGITS, LOGITS, st.integers(1, 12))
def test_the_divergence_of_lists_is_a_lower_bound(first: list[float], second: list[float], k: int) -> None:
    p, q = log_softmax(first), log_softmax(second)
    exact = float(np.dot(np.exp(p), p - q))
    value = divergence_of(p, q, k)
    assert 0 <= value <= exact + 0.01 * (1 + exact)  # float16 rounds a log-probability by up to 0.05 %


@settings(deadline=None)
@given(LOGITS, LOGITS)
def test_whole_distributions_give_the_exact_divergence(first: list[float], second: list[float]) -> None:
    p, q = log_softmax(first), log_softmax(second)
    exact = float(np.dot(np.exp(p), p - q))
    assert divergence_of(p, q, 12) == pytest.approx(exact, rel=0.02, abs=0.01)


@settings(deadline=None)
@given(LOGITS, st.integers(1, 12))
def test_equal_distributions_have_no_divergence(logits: list[float], k: int) -> None:
    p = log_softmax(logits)
    assert divergence_of(p, p, k) == pytest.approx(0.0, abs=1e-3)


def test_without_a_distribution_on_one_side_the_divergence_is_unknown() -> None:
    p = log_softmax([0.0] * 12)
    assert divergences(paired(top(p, 3), {})) is None
    assert divergences(paired({}, {})) is None
