"""No floor of a p-value may lie above the level: a collapse fails at every level of a long nightly series."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gate.config import DecisionSettings
from gate.decision import decide, spend
from gate.samples import PairedTask
from gate.stats import Evidence, combine, lord_levels
from tests.support.paired_tasks import counted, scored

QUIET = [0.5] * 1000
"""A series of 1,000 runs without an alarm."""


def lord(**policy: float) -> DecisionSettings:
    return DecisionSettings.model_validate({"alpha_spending": {"kind": "lord"}, "draws": 10_000, **policy})


def graded(name: str, n: int, loss: float) -> PairedTask:
    generator = np.random.default_rng(n)
    candidate = np.clip(0.9 - loss + 0.05 * generator.standard_normal(n), 0.0, 1.0)
    return scored(name, np.clip(0.9 + 0.05 * generator.standard_normal(n), 0.0, 1.0).tolist(), candidate.tolist())


def clustered(name: str, n: int) -> PairedTask:
    return scored(name, [1.0] * n, [0.0] * (n - 40) + [1.0] * 40, [str(k // 3) for k in range(n)])


COLLAPSES = {
    "graded": [graded("one", 300, 0.5)],
    "one graded task of six": [graded(f"t{k}", 300 + k, 0.5 if k == 0 else 0.0) for k in range(6)],
    "clusters": [clustered("one", 300)],
    "six binary tasks": [counted(f"t{k}", 400, 10, 1000) for k in range(6)],
    "one binary task of six": [counted(f"t{k}", 400 if k == 0 else 20, 20, 1000) for k in range(6)],
    "binary and graded": [counted("one", 20, 20, 1000), graded("two", 300, 0.5)],
}


@pytest.mark.parametrize("margin", [0.0, 0.01])
@pytest.mark.parametrize("name", COLLAPSES)
def test_a_collapse_after_a_thousand_quiet_nights_fails(name: str, margin: float) -> None:
    settings = lord(margin=margin)
    spending = spend(settings, QUIET)
    assert spending is not None
    assert spending.level < 2e-6
    decision = decide(COLLAPSES[name], settings, spending=spending)
    assert decision.verdict == "FAIL"
    assert 0 < decision.p_value < 1e-10  # with clusters and a margin, the tail is that of Bernstein's inequality


@pytest.mark.parametrize("rule", ["pooled", "max", "fisher", "holm"])
def test_every_rule_fails_a_collapse_of_one_graded_task_of_six(rule: str) -> None:
    settings = DecisionSettings.model_validate({"alpha_spending": {"kind": "lord"}, "draws": 10_000, "rule": rule})
    loss = 0.8 if rule == "pooled" else 0.5  # pooled weighs the task by its share
    pairs = [graded(f"t{k}", 300 + k, loss if k == 0 else 0.0) for k in range(6)]
    decision = decide(pairs, settings, spending=spend(settings, QUIET))
    if rule == "pooled":
        assert decision.p_value < 1e-6
    else:
        assert decision.verdict == "FAIL"


@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_p_values_fall_as_the_evidence_grows(margin: float) -> None:
    """60/37 on six tasks had a smaller p-value than 400/10, because of the number of draws."""
    counts = [(40, 37), (50, 37), (60, 37), (100, 37), (200, 20), (400, 10)]
    p = [
        combine([Evidence.from_counts(b, c, 1000)] * 6, margin=margin, n_resamples=20_000, rng=0, alpha=0.05).pvalue
        for b, c in counts
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(p[1:]))


def test_graded_p_values_fall_as_the_evidence_grows() -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((6, 300))
    previous = 1.0
    for shift in (0.1, 0.3, 0.5, 0.8, 1.5):
        tasks = [Evidence.from_differences(row + shift, rng=0) for row in noise]
        p = combine(tasks, n_resamples=20_000, rng=0).pvalue
        assert p < previous
        previous = p
    assert previous < 1e-100


def test_drawn_signs_keep_the_error_rate_at_levels_below_their_number() -> None:
    """2,000 null tasks of 40 continuous differences with 20 draws each, so that 1/21 was the smallest p-value."""
    generator = np.random.default_rng(5)
    p = np.array(
        [Evidence.from_differences(generator.laplace(size=40), n_resamples=20, rng=k).pvalue for k in range(2000)]
    )
    for level in (0.001, 0.005, 0.02, 0.05, 0.2):
        assert np.mean(p <= level) <= level + 2.5 * np.sqrt(level * (1 - level) / p.size)


@pytest.fixture(scope="module", params=[12, pytest.param(60, marks=pytest.mark.exhaustive)])
def years(request: pytest.FixtureRequest) -> np.ndarray:
    """P-values of several years of 52 weekly runs of an unchanged model, two tasks of 20 continuous differences."""
    generator, count = np.random.default_rng(8), request.param
    p = [
        combine(
            [Evidence.from_differences(generator.laplace(size=20), n_resamples=100, rng=run) for _ in range(2)],
            n_resamples=300,
            rng=run,
        ).pvalue
        for run in range(count * 52)
    ]
    return np.array(p).reshape(count, 52)


def test_a_simulated_year_has_at_most_the_expected_alarms(years: np.ndarray) -> None:
    policy = DecisionSettings.model_validate({"alpha_spending": {"kind": "yearly", "runs": 52}})
    spending = spend(policy, [])
    assert spending is not None
    alarms = (years <= spending.level).sum(axis=1)
    assert alarms.mean() <= 1.0 + 3 * np.sqrt(1 / len(years))


def test_a_simulated_year_of_lord_rarely_has_an_alarm(years: np.ndarray) -> None:
    with_alarm = sum(bool((year <= lord_levels(year, 0.05)[:-1]).any()) for year in years)
    assert with_alarm / len(years) <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / len(years))
