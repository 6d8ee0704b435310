"""Power of one task (exact) and of the whole decision (simulated)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats import (
    decision_detectable_drop,
    decision_power,
    detectable_drop,
    mcnemar_exact,
    power,
    required_n,
)

SIX_TASKS = [1172, 10042, 1319, 1267, 14042, 817]
FLIP_RATES = [0.08, 0.05, 0.12, 0.10, 0.06, 0.09]


def test_power_is_the_rejection_rate() -> None:
    generator = np.random.default_rng(9)
    m = generator.binomial(400, 0.1, 200_000)
    b = generator.binomial(m, 0.5 + 0.03 / 0.2)
    assert power(400, 0.1, 0.03) == pytest.approx(np.mean(mcnemar_exact(b, m - b).pvalue <= 0.05), abs=0.005)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3000), st.floats(0.01, 1.0), st.floats(0, 1), st.floats(0, 1))
def test_power_rises_with_the_drop(n: int, flips: float, x: float, y: float) -> None:
    small, large = sorted((x * flips, y * flips))
    assert power(n, flips, small) <= power(n, flips, large) + 1e-9
    assert power(n, flips, 0.0) <= 0.05 + 1e-9


@settings(max_examples=30, deadline=None)
@given(st.floats(0.02, 0.5), st.floats(0.05, 1), st.floats(0.3, 0.95))
def test_required_n_and_detectable_drop_invert_the_power(flips: float, share: float, required: float) -> None:
    drop = share * flips
    n = required_n(flips, drop, power=required)
    assert power(n, flips, drop) >= required > power(n - 1, flips, drop)
    assert detectable_drop(n, flips, power=required) <= drop * (1 + 1e-6)


def test_a_task_that_can_never_reject_has_no_detectable_drop() -> None:
    assert math.isnan(detectable_drop(20, 0.05))
    assert power(4, 1.0, 1.0) == 0.0
    assert power(100, 0.0, 0.0) == 0.0


def test_power_detectable_drop_and_required_items_agree_for_sixty_thousand_items() -> None:
    drop = detectable_drop(60_000, 0.09)
    assert power(60_000, 0.09, drop) == pytest.approx(0.8, abs=0.002)
    assert required_n(0.09, drop) == pytest.approx(60_000, rel=0.01)


@pytest.mark.parametrize(
    ("drops", "expected"),
    [
        ([0.003] * 6, {"pooled": 0.64, "fisher": 0.54, "max": 0.37, "holm": 0.33, "omnibus": 0.56}),
        ([0.04, 0, 0, 0, 0, 0], {"pooled": 0.29, "fisher": 0.98, "max": 1.0, "holm": 0.99, "omnibus": 0.99}),
        (
            [0.01, -0.002, 0.02, 0, 0.003, 0.01],
            {"pooled": 0.47, "fisher": 0.75, "max": 0.59, "holm": 0.54, "omnibus": 0.69},
        ),
    ],
)
def test_the_power_of_the_decision(drops: list[float], expected: dict[str, float]) -> None:
    for rule, value in expected.items():
        simulated = decision_power(SIX_TASKS, FLIP_RATES, drops, rule=rule, n_resamples=6000, rng=0)  # type: ignore[arg-type]
        assert simulated == pytest.approx(value, abs=0.03), rule


def test_the_decision_over_one_task_is_the_exact_test() -> None:
    assert decision_power([1319], [0.1], [0.02], n_resamples=40_000, rng=0) == pytest.approx(0.717, abs=0.02)
    joint = decision_detectable_drop([1319], [0.1], n_resamples=20_000, rng=0)
    assert joint == pytest.approx(detectable_drop(1319, 0.1), rel=0.05)


def test_the_detectable_drop_has_the_required_power() -> None:
    drop = decision_detectable_drop(SIX_TASKS, FLIP_RATES, rng=0)
    assert decision_power(SIX_TASKS, FLIP_RATES, [drop] * 6, rng=1) == pytest.approx(0.8, abs=0.03)
    assert math.isnan(decision_detectable_drop([10, 10], [0.1, 0.1], rng=0))


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="drop: expected an absolute value of at most the flip rate"):
        power(100, 0.1, 0.2)
    with pytest.raises(ValueError, match="flip_rate: expected a proportion"):
        power(100, 1.2, 0.2)
    with pytest.raises(ValueError, match="alpha: expected a number strictly between 0 and 1"):
        power(100, 0.1, 0.05, alpha=0)
    with pytest.raises(ValueError, match="rule: expected one of omnibus, pooled"):
        decision_power([10], [0.1], [0.0], rule="any")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"flip_rates: expected a proportion between 0 and 1, found 1\.5"):
        decision_power([100, 100], [0.1, 1.5], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"drops: .* the task's flip rate 0\.1, found 0\.2"):
        decision_power([100, 100], [0.3, 0.1], [0.2, 0.2])
    with pytest.raises(ValueError, match="drops: expected one per task"):
        decision_power([10, 20], [0.1, 0.1], [0.0])
