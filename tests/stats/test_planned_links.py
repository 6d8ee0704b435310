"""The planned power of tasks that share clusters, against simulated decisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gate.stats import (
    RULES,
    Evidence,
    PlannedLinks,
    PlannedTask,
    clustered_flip_rate_interval,
    combine,
    detectable_drop,
    flip_rate_interval,
    link,
    planned_detectable_drop,
    planned_scale,
)

ALL = PlannedLinks(np.array([[True, True]]), np.array([[1.0, 1.0]]))
ONE = PlannedTask(500, 0.04, largest=0.8)


@pytest.mark.parametrize("rule", ["omnibus", "pooled", "max", "fisher"])
def test_the_same_items_in_two_tasks_detect_what_one_task_does(rule: Any) -> None:
    drop = planned_detectable_drop([ONE, ONE], rule=rule, n_resamples=2_000, rng=0, links=ALL)
    assert drop == pytest.approx(detectable_drop(500, 0.04), abs=0.0008)


def test_twice_the_items_are_needed_for_the_drop_that_independent_tasks_detect() -> None:
    drop = planned_detectable_drop([ONE, ONE], rule="pooled", n_resamples=2_000, rng=0)
    assert planned_scale([ONE, ONE], drop, rule="pooled", rng=0, links=ALL) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_no_shared_flips_are_independent_tasks(rule: Any, margin: float) -> None:
    """At a margin, dependent tasks have Bonferroni's method for max and Fisher, which needs a larger drop."""
    tasks = [PlannedTask(500, 0.04, margin, 0.8), PlannedTask(1000, 0.08, margin, 0.8)]
    none = PlannedLinks(np.array([[True, True]]), np.zeros((1, 2)))
    apart = planned_detectable_drop(tasks, rule=rule, n_resamples=4_000, rng=0)
    joint = planned_detectable_drop(tasks, rule=rule, n_resamples=4_000, rng=0, links=none)
    assert apart * 0.95 < joint < apart * (1.05 if margin == 0.0 else 1.12)


def simulated(drop: float, shared: int, own: int, noise: float, rng: np.random.Generator) -> bool:
    """Return whether omnibus rejects one run of two tasks of which `shared` items occur in both."""
    flips = rng.choice([1.0, -1.0, 0.0], shared + 2 * own, p=[noise / 2 + drop, noise / 2, 1 - noise - drop])
    rows = [np.arange(shared + own), np.r_[0:shared, shared + own : shared + 2 * own]]
    differences = [flips[part] for part in rows]
    evidences = [Evidence.from_differences(part) for part in differences]
    links = link(differences, rows, rng=0)
    return combine(evidences, links=links, n_resamples=2_000, rng=0).pvalue <= 0.05


@pytest.mark.parametrize(("shared", "own"), [pytest.param(300, 0, marks=pytest.mark.exhaustive), (200, 200)])
def test_the_planned_drop_is_detected_with_the_stated_power(shared: int, own: int) -> None:
    """300 simulated decisions: two standard errors are .046."""
    n = shared + own
    links = PlannedLinks(np.array([[True, True]]), np.full((1, 2), shared / n))
    drop = planned_detectable_drop([PlannedTask(n, 0.06)] * 2, n_resamples=4_000, rng=0, links=links)
    rng = np.random.default_rng(1)
    hits = sum(simulated(drop, shared, own, 0.06, rng) for _ in range(300))
    assert hits / 300 == pytest.approx(0.8, abs=0.05)


def test_a_small_level_needs_no_draws_beyond_it() -> None:
    drop = planned_detectable_drop([ONE, ONE], 1e-6, n_resamples=2_000, rng=0, links=ALL)
    assert detectable_drop(500, 0.04, 1e-6) * 0.9 < drop < detectable_drop(500, 0.04, 1e-6) * 1.25


def test_flip_rates_of_whole_clusters_are_those_of_as_many_items() -> None:
    for flipped in (0, 3, 30):
        exact = flip_rate_interval(flipped, 40)
        found = clustered_flip_rate_interval(np.repeat(np.arange(40) < flipped, 5), np.repeat(np.arange(40), 5))
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=0.05)


def test_the_flip_interval_of_clusters_covers() -> None:
    """1,000 runs at 95 %: two standard errors are 1.4 points."""
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(100), 4)
    covered = 0
    for _ in range(1000):
        low, high = clustered_flip_rate_interval(np.repeat(rng.random(100) < 0.1, 4), clusters)
        covered += low <= 0.1 <= high
    assert covered / 1000 >= 0.95 - 0.014
