"""The ratio of two paired means and Fieller's interval of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gate.stats import recovery


def scores(both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    baseline = np.repeat([1.0, 1.0, 0.0, 0.0], [both, lost, gained, neither])
    return baseline, np.repeat([1.0, 0.0, 1.0, 0.0], [both, lost, gained, neither])


def test_the_ends_of_the_interval_are_the_ratios_that_student_t_just_rejects() -> None:
    x, y = scores(70, 9, 4, 17)
    result = recovery(x, y, confidence_level=0.9)
    assert result.ratio == pytest.approx(74 / 79)
    x, y = np.append(x, [1.0, 0.0]), np.append(y, [0.0, 1.0])  # the two items that are added to the data
    for end in result.ci:
        assert stats.ttest_1samp(y - end * x, 0.0).pvalue == pytest.approx(0.1)


def test_a_run_without_flips_does_not_prove_full_recovery() -> None:
    result = recovery(*scores(60, 0, 0, 40))
    assert result.ratio == 1.0
    assert result.ci.low < 0.98
    assert result.ci.high > 1.02


def test_an_interval_is_unbounded_where_the_baseline_is_not_significantly_above_0() -> None:
    result = recovery([0.0] * 30 + [1.0], [0.0] * 30 + [1.0])
    assert (result.ci.low, result.ci.high) == (-math.inf, math.inf)


def test_clusters_widen_the_interval_and_a_cluster_per_item_changes_nothing() -> None:
    x, y = scores(60, 20, 10, 10)
    alone = recovery(x, y)
    assert recovery(x, y, list(range(100))) == alone
    together = recovery(x, y, [n // 10 for n in range(100)])
    assert together.ratio == alone.ratio
    assert together.ci.high - together.ci.low > alone.ci.high - alone.ci.low


@given(st.lists(st.tuples(st.floats(0.1, 1), st.floats(0, 1)), min_size=2, max_size=40), st.floats(0.01, 100))
def test_the_ratio_lies_in_its_interval_and_neither_depends_on_the_unit(
    pairs: list[tuple[float, float]], unit: float
) -> None:
    x, y = np.array(pairs).T
    result, scaled = recovery(x, y), recovery(unit * x, unit * y)
    assert scaled.ratio == pytest.approx(result.ratio)
    assert scaled.ci == pytest.approx(result.ci, rel=1e-6, abs=1e-6)
    assert result.ci.low < result.ci.high


@pytest.mark.parametrize(
    ("baseline", "candidate", "message"),
    [
        ([0.0, 0.0], [1.0, 1.0], "mean score above 0, found 0"),
        ([-3.0], [-2.0], "mean score above 0, found -3"),
        ([], [], "mean score above 0, found nan"),
        ([1.0, 1.0], [1.0], "one score per item"),
        ([1.0, math.nan], [1.0, 1.0], "finite"),
    ],
)
def test_a_ratio_without_meaning_is_refused(baseline: list[float], candidate: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recovery(baseline, candidate)


@pytest.mark.parametrize(("accuracy", "flips", "ratio"), [(0.6, 0.05, 1.0), (0.6, 0.1, 0.95), (0.9, 0.02, 0.98)])
def test_the_interval_covers_the_true_ratio_in_nine_of_ten_runs(accuracy: float, flips: float, ratio: float) -> None:
    """800 runs of 300 items; benchmarks/recovery.py has more scenarios."""
    rng = np.random.default_rng(1)
    gained = flips / 2
    lost = gained + accuracy * (1 - ratio)
    shares = [accuracy - lost, lost, gained, 1 - accuracy - gained]
    intervals = [recovery(*scores(*rng.multinomial(300, shares))).ci for _ in range(800)]
    covered = np.mean([low <= ratio <= high for low, high in intervals])
    assert 0.87 < covered < 0.96
