"""Step-down p-values over candidates: exact enumeration, invariance, bounds, and the family-wise error by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gate.stats import SharedUnits, holm, max_over_candidates, mcnemar_exact, sign_flip, step_down

Array = NDArray[np.float64]


def units_of(differences: Array) -> SharedUnits:
    """One task."""
    columns = differences.shape[1]
    return SharedUnits(differences, np.arange(columns), np.ones(columns))


def enumerated_min_p(differences: Array) -> tuple[list[float], list[float]]:
    """Return single and step-down p-values from all sign patterns of one task."""
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=differences.shape[0])))
    sums = signs @ differences
    ranks = np.stack([(column[None, :] >= column[:, None] - 1e-9).mean(axis=1) for column in sums.T], axis=1)
    observed = ranks[0]
    order = np.argsort(observed)
    adjusted = np.empty(observed.size)
    largest = 0.0
    for step, column in enumerate(order):
        smallest = ranks[:, order[step:]].min(axis=1)
        largest = max(largest, float(np.mean(smallest <= observed[column] + 1e-12)))
        adjusted[column] = largest
    return observed.tolist(), adjusted.tolist()


@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(4, 10), st.booleans())
@settings(max_examples=8, deadline=None)
def test_step_down_agrees_with_the_enumeration_of_all_signs(seed: int, columns: int, items: int, graded: bool) -> None:
    generator = np.random.default_rng(seed)
    values = generator.normal(0.3, 1.0, (items, columns)) if graded else generator.integers(-1, 2, (items, columns))
    differences = np.asarray(values, dtype=np.float64)
    single, exact = enumerated_min_p(differences)
    result = step_down([units_of(differences)], single, n_resamples=100_000, rng=seed)
    assert result.pvalue == pytest.approx(exact, abs=0.02)


def test_max_over_candidates_agrees_with_the_enumeration_of_all_signs() -> None:
    differences = np.array([[1.0, 2.0, 0.0], [1.0, -1.0, 0.0], [0.5, 2.0, 0.0], [-0.25, 1.0, 0.0], [1.0, 3.0, 0.0]])
    sizes = np.sqrt((differences[:, :2] ** 2).sum(axis=0))
    sums = np.array(list(itertools.product((1.0, -1.0), repeat=5))) @ differences[:, :2] / sizes
    best = int(np.argmax(sums[0]))
    expected = [0.0, 0.0]
    expected[best] = float(np.mean(sums.max(axis=1) >= sums[0, best] - 1e-9))
    expected[1 - best] = max(expected[best], float(np.mean(sums[:, 1 - best] >= sums[0, 1 - best] - 1e-9)))
    result = max_over_candidates(differences, n_resamples=200_000, rng=1)
    assert result.pvalue[:2] == pytest.approx(expected, abs=0.005)
    assert (result.statistic[2], result.pvalue[2]) == (0.0, 1.0)


def test_one_candidate_keeps_its_p_value_and_max_is_the_sign_flip_test() -> None:
    generator = np.random.default_rng(3)
    differences = generator.normal(0.05, 1.0, (300, 1))
    alone = sign_flip(differences[:, 0], rng=0).pvalue
    assert step_down([units_of(differences)], [alone], rng=0).pvalue.tolist() == [alone]
    assert max_over_candidates(differences, rng=0).pvalue[0] == pytest.approx(alone, abs=0.005)


def test_signs_flip_for_whole_clusters() -> None:
    generator = np.random.default_rng(4)
    whole = generator.normal(0.4, 1.0, (40, 2))
    parts = np.repeat(whole / 3, 3, axis=0)
    clusters = np.repeat(np.arange(40), 3)
    assert max_over_candidates(parts, clusters, rng=0).pvalue == pytest.approx(
        max_over_candidates(whole, rng=0).pvalue, abs=0.005
    )
    assert max_over_candidates(parts, rng=0).pvalue[0] < max_over_candidates(whole, rng=0).pvalue[0]


def test_far_below_the_floor_of_the_draws_holm_gives_the_p_value() -> None:
    """A collapse must be rejected at any level, however few signs are drawn."""
    worse = np.repeat([1.0, -1.0, 0.0], [200, 5, 100])
    quiet = np.repeat([1.0, -1.0, 0.0], [10, 12, 283])
    alone = [mcnemar_exact(200, 5).pvalue, mcnemar_exact(10, 12).pvalue]
    result = step_down([units_of(np.stack([worse, quiet], axis=1))], alone, n_resamples=1_000, rng=0)
    assert result.pvalue[0] == pytest.approx(2 * alone[0])
    assert result.pvalue[1] == pytest.approx(alone[1], abs=0.03)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"differences": [1.0, 2.0]}, "differences: expected one row per item"),
        ({"differences": [[np.nan]]}, "differences: expected finite numbers, found nan"),
        ({"differences": [[1.0], [2.0]], "clusters": [1]}, "clusters: expected one per item"),
        ({"differences": [[1.0]], "n_resamples": 0}, "n_resamples"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        max_over_candidates(**wrong)
    with pytest.raises(ValueError, match="rule: expected one of"):
        step_down([], [0.1, 0.2], "median")


def correlated(generator: np.random.Generator, items: int, candidates: int) -> Array:
    """Return the differences of lossless candidates: answers that are independent given how hard an item is.

    The baseline's own noise is common to all candidates. Hard and easy items make the differences of one item not
    jointly symmetric: where the baseline is wrong on an easy item, all candidates are likely to be right.
    """
    chance = generator.choice([0.02, 0.5, 0.97], items, p=[0.2, 0.1, 0.7])
    right = generator.random((items, candidates + 1)) < chance[:, None]
    return right[:, :1].astype(np.float64) - right[:, 1:]


def test_the_family_wise_error_of_correlated_candidates_is_at_most_alpha() -> None:
    generator = np.random.default_rng(20)
    runs, alpha = 250, 0.05
    errors = bonferroni = 0
    for run in range(runs):
        differences = correlated(generator, 400, 5)
        b, c = (differences > 0).sum(axis=0), (differences < 0).sum(axis=0)
        alone = mcnemar_exact(b, c).pvalue
        adjusted = step_down([units_of(differences)], alone, n_resamples=2_000, rng=run).pvalue
        errors += bool(adjusted.min() <= alpha)
        bonferroni += bool(holm(alone).min() <= alpha)
    assert errors / runs <= alpha + 2 * np.sqrt(alpha * (1 - alpha) / runs)
    assert errors >= bonferroni
    assert errors / runs >= 0.02  # not conservative beyond what discrete data force
