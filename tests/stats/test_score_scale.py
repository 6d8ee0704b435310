"""The unit of a score is arbitrary: p-values do not depend on it, from denormal numbers to the largest floats."""

from __future__ import annotations

import numpy as np
import pytest

from gate.config import DecisionSettings
from gate.decision import decide
from gate.stats import Evidence, combine
from tests.support.paired_tasks import scored

UNITS = [1e200, 1e-200, 1e-300, 1e300, 2.0**1000]
SCORES = np.random.default_rng(3).normal(0.15, 1.0, 200)


@pytest.mark.parametrize("unit", UNITS)
def test_continuous_scores_have_the_same_p_value_in_every_unit(unit: float) -> None:
    one, other = (Evidence.from_differences(SCORES * factor, rng=0) for factor in (1.0, unit))
    assert other.pvalue == one.pvalue
    assert other.pvalue_at(0.05 * unit) == pytest.approx(one.pvalue_at(0.05), rel=1e-9)
    assert other.drop / unit == pytest.approx(one.drop)
    p = [combine([task, Evidence.from_counts(9, 4, 200)], n_resamples=5000, rng=0).pvalue for task in (one, other)]
    assert p[0] == pytest.approx(p[1], rel=1e-9)


@pytest.mark.parametrize("unit", [*UNITS, 1e-310])
@pytest.mark.parametrize("clusters", [None, np.arange(60) // 2])
def test_means_over_repeats_have_the_same_p_value_in_every_unit(unit: float, clusters: np.ndarray | None) -> None:
    differences = np.random.default_rng(4).choice([0.25, -0.25, 0.5, 1.0, 0.0], 60)
    expected = Evidence.from_differences(differences, clusters).pvalue
    assert Evidence.from_differences(differences * unit, clusters).pvalue == pytest.approx(expected, rel=1e-9)


def test_the_smallest_numbers_count() -> None:
    assert Evidence.from_differences([5e-324] * 5 + [-5e-324]).pvalue == pytest.approx(7 / 64)


def test_differences_of_mixed_magnitudes_are_tested() -> None:
    mixed = np.r_[1e200, np.ones(30), -1e-200, 5e-324, -1e100]
    evidence = Evidence.from_differences(mixed, rng=0)
    assert 0.4 < evidence.pvalue < 0.6, "only the sign of the largest matters"
    assert 0.4 < Evidence.from_differences(mixed, np.arange(mixed.size) // 2, rng=0).pvalue < 0.6


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1e90, 1e-300])
def test_a_decision_does_not_depend_on_the_unit(unit: float) -> None:
    generator = np.random.default_rng(0)
    baseline = generator.normal(1.0, 0.1, 60)
    candidate = baseline - generator.normal(0.03, 0.1, 60)
    policy = DecisionSettings(draws=1000)
    one, other = (
        decide([scored("task", (baseline * factor).tolist(), (candidate * factor).tolist())], policy)
        for factor in (1.0, unit)
    )
    assert (other.verdict, other.p_value) == (one.verdict, one.p_value)
    if unit > 1:  # tiny scores lie between 0 and 1, where an item can lose more than it does here
        assert [bound / unit for bound in other.tasks[0].drop_ci90] == pytest.approx(one.tasks[0].drop_ci90)
