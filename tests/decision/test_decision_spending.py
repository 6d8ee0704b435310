"""Alpha spending over a series of runs."""

from __future__ import annotations

import numpy as np
import pytest

from gate.config import DecisionSettings
from gate.decision import spend


def settings(kind: str) -> DecisionSettings:
    return DecisionSettings.model_validate({"alpha_spending": {"kind": kind}})


def test_without_a_policy_nothing_is_spent() -> None:
    assert spend(DecisionSettings(), [0.5]) is None


def test_a_yearly_policy_alarms_once_a_year_on_an_unchanged_model() -> None:
    """20,000 simulated years of uniform p-values: the mean number of alarms is 1 within three standard errors."""
    level = spend(settings("yearly"), [])
    assert level is not None
    years = np.random.default_rng(1).random((20_000, 365))
    alarms = (years <= level.level).sum(axis=1)
    assert alarms.mean() == pytest.approx(1.0, abs=3 * alarms.std() / np.sqrt(len(alarms)))


def test_lord_alarms_on_an_unchanged_model_with_probability_at_most_half_of_alpha() -> None:
    """400 simulated series of 60 nightly runs; each level depends on the runs before it."""
    generator = np.random.default_rng(2)
    series_with_alarm = 0
    for _ in range(400):
        past: list[float] = []
        for p in generator.random(60):
            spending = spend(settings("lord"), past)
            assert spending is not None
            past.append(float(p))
            if p <= spending.level:
                series_with_alarm += 1
                break
    assert series_with_alarm / 400 <= 0.025 + 2 * np.sqrt(0.025 * 0.975 / 400)


def test_alarm_raises_the_next_level_of_lord() -> None:
    quiet, after_alarm = (spend(settings("lord"), past) for past in ([0.5, 0.5], [0.5, 1e-9]))
    assert quiet is not None
    assert after_alarm is not None
    assert after_alarm.level > quiet.level
    assert (quiet.alarms, after_alarm.alarms) == (0, 1)
    assert after_alarm.run == 3


def test_guarantee_states_its_exceptions_with_a_margin_or_limits() -> None:
    policy = DecisionSettings.model_validate({"alpha_spending": {"kind": "yearly"}, "margin": 0.01})
    spent = spend(policy, [])
    assert spent is not None
    assert "with a margin, for large samples only where scores are graded or items are clustered" in spent.guarantee
    assert "limits on observed values are not included" in spent.guarantee
    own = spend(settings("yearly"), [], margins=[0.0, 0.01])
    assert own is not None
    assert "with a margin, for large samples only" in own.guarantee
    without = spend(settings("yearly"), [])
    assert without is not None
    assert "margin" not in without.guarantee
