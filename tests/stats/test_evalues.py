"""E-values of scores of any kind: their expectation under the null is at most 1."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats import log_e_value, log_e_value_of_differences


@pytest.mark.parametrize(("b", "c"), [(0, 0), (7, 0), (0, 7), (68, 18), (46, 46), (1816, 1378)])
def test_binary_items_give_the_e_value_of_their_counts(b: int, c: int) -> None:
    differences = [1.0] * b + [-1.0] * c + [0.0] * 5
    assert log_e_value_of_differences(differences) == pytest.approx(log_e_value(b, c), abs=1e-9)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=9), st.lists(st.integers(0, 3), min_size=9, max_size=9))
@settings(max_examples=40, deadline=None)
def test_the_expectation_over_all_signs_is_one(sizes: list[float], clusters: list[int]) -> None:
    """Signs of whole clusters are fair coins, given the sizes: the expectation is enumerated."""
    groups = np.array(clusters[: len(sizes)])
    signs = itertools.product((-1.0, 1.0), repeat=4)
    values = [np.exp(log_e_value_of_differences(np.array(sizes) * np.array(sign)[groups], groups)) for sign in signs]
    assert np.mean(values) == pytest.approx(1.0, abs=1e-9)


@given(st.floats(0.01, 1000), st.lists(st.floats(-10, 10), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_the_unit_of_the_score_does_not_matter(unit: float, values: list[float]) -> None:
    scaled = log_e_value_of_differences(np.array(values) * unit)
    assert scaled == pytest.approx(log_e_value_of_differences(values), abs=1e-6)


@pytest.mark.parametrize("clusters", [None, np.arange(300) // 3])
def test_the_expectation_at_the_margin_is_at_most_one(clusters: np.ndarray | None) -> None:
    """4,000 runs with a mean drop of exactly the margin; graded differences, uneven over items."""
    generator = np.random.default_rng(1)
    values = np.array(
        [log_e_value_of_differences(generator.choice([1.0, 0.5, -0.5, 0.0], 300, p=[0.03, 0.04, 0.06, 0.87]), clusters, margin=0.02)
         for _ in range(1500)]
    )  # fmt: skip
    e = np.exp(values)
    assert e.mean() <= 1 + 3 * e.std() / np.sqrt(len(e))
    assert np.mean(e >= 20) <= 0.05


def test_a_drop_beyond_the_margin_is_evidence() -> None:
    differences = [1.0] * 80 + [-1.0] * 10 + [0.0] * 910
    assert log_e_value_of_differences(differences, margin=0.02) > np.log(1000)
    assert log_e_value_of_differences(differences, margin=0.08) < 0


def test_arguments_out_of_range_are_errors() -> None:
    with pytest.raises(ValueError, match="finite"):
        log_e_value_of_differences([np.nan])
    with pytest.raises(ValueError, match="margin"):
        log_e_value_of_differences([0.5], margin=-0.1)
    with pytest.raises(ValueError, match=r"scores in \[0, 1\]"):
        log_e_value_of_differences([5.0], margin=0.1)
