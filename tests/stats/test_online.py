"""A test every night: the guarantees of the levels, by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.stats import alarm_level, lord_levels
from gate.stats.online import lord_weights


def simulate(nights: int, worse: np.ndarray, seed: int, alpha: float) -> np.ndarray:
    """Return the nights on which LORD alarms; on `worse` nights the candidate is four standard errors worse."""
    generator = np.random.default_rng(seed)
    z = generator.standard_normal(nights) + 4.0 * worse
    p = np.array([0.5 * math.erfc(x / math.sqrt(2)) for x in z])
    return p <= lord_levels(p, alpha)[:-1]


def test_the_weights_sum_to_at_most_one() -> None:
    count = 1_000_000
    v = math.sqrt(math.log(count))
    beyond = 0.0772 * 2 * math.exp(-v) * (v**3 + 3 * v**2 + 6 * v + 6)  # the integral of the falling tail
    assert 0.95 < lord_weights(count).sum() + beyond <= 1.0


def test_an_unchanged_model_ever_alarms_with_probability_at_most_the_initial_wealth() -> None:
    alarmed = [simulate(365, np.zeros(365), seed, 0.2).any() for seed in range(1500)]
    assert 0.005 < np.mean(alarmed) <= 0.1 + 2 * (0.09 / 1500) ** 0.5


def test_the_share_of_false_alarms_stays_below_alpha() -> None:
    worse = np.zeros(300)
    worse[50::7] = 1.0
    shares, detected = [], []
    for seed in range(400):
        alarms = simulate(300, worse, seed, 0.1)
        shares.append(float((alarms & (worse == 0)).sum()) / max(1, int(alarms.sum())))
        detected.append(float((alarms & (worse == 1)).sum()) / worse.sum())
    assert np.mean(shares) <= 0.1
    assert np.mean(detected) > 0.5


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.01, 0.3))
def test_a_level_depends_only_on_the_past(p: list[float], alpha: float) -> None:
    levels = lord_levels(p, alpha)
    assert levels.size == len(p) + 1
    for night in range(len(p)):
        assert lord_levels(p[:night], alpha).tolist() == levels[: night + 1].tolist()
    assert (levels > 0).all()
    assert (levels <= alpha).all()


def test_alarms_raise_later_levels() -> None:
    assert lord_levels([0.5, 0.5, 1e-9])[-1] > lord_levels([0.5, 0.5, 0.5])[-1]


def test_one_false_alarm_a_year_in_expectation() -> None:
    generator = np.random.default_rng(14)
    level = alarm_level(1, 365)
    alarms = (generator.random((4000, 365)) <= level).sum(axis=1)
    assert alarms.mean() == pytest.approx(1.0, abs=0.05)
    assert (alarms > 0).mean() == pytest.approx(1 - math.exp(-1), abs=0.03)


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="alarms: expected a number above 0"):
        alarm_level(0, 10)
    with pytest.raises(ValueError, match="initial_wealth"):
        lord_levels([0.1], 0.05, initial_wealth=0.2)
    with pytest.raises(ValueError, match="pvalues: expected p-values between 0 and 1, found nan"):
        lord_levels([float("nan")])
