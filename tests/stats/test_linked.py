"""Tasks that share clusters: one sign per cluster over all tasks keeps the level."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gate.stats import Evidence, closed_pvalues, combine, holm, link
from gate.stats.results import CombinedResult

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def combined(differences: list[Floats], clusters: list[Ints], rule: Any = "omnibus", **options: Any) -> CombinedResult:
    tasks = [Evidence.from_differences(d, c, rng=0) for d, c in zip(differences, clusters, strict=True)]
    links = link(differences, clusters, rng=0)
    return combine(tasks, rule, links=links, n_resamples=options.pop("draws", 20_000), rng=0, **options)


def statistics(differences: list[Floats], clusters: list[Ints]) -> tuple[Floats, Floats]:
    """Return the observed sums per task, and those of every pattern of cluster signs, by enumeration."""
    names = sorted({int(name) for part in clusters for name in part})
    sums = np.array([[d[c == name].sum() for d, c in zip(differences, clusters, strict=True)] for name in names])
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(names))))
    return sums.sum(axis=0), signs @ sums


CASES: dict[str, tuple[list[list[float]], list[list[int]]]] = {
    "one item in two tasks": ([[1, 1, 1, -1], [1, 1, 1]], [[0, 1, 2, 3], [0, 4, 5]]),
    "equal tasks": ([[1, 1, 1, 1, -1]] * 2, [[0, 1, 2, 3, 4]] * 2),
    "opposed": ([[1, 1, 1], [-1, 1, 1]], [[0, 1, 2], [0, 3, 4]]),
    "graded": ([[0.5, 0.25, 1.0, -0.125], [0.3, -0.2, 0.7]], [[0, 1, 2, 3], [0, 1, 4]]),
    "clusters": ([[1, 1, 1, 1, -1, 1], [1, 1, -1]], [[0, 0, 1, 2, 3, 4], [0, 5, 5]]),
}


@pytest.mark.parametrize("name", CASES)
def test_pooled_and_max_are_those_of_all_sign_patterns(name: str) -> None:
    differences, clusters = ([np.array(part) for part in parts] for parts in CASES[name])
    observed, drawn = statistics(differences, clusters)
    scales = np.array([math.sqrt(np.mean(d[d != 0] ** 2)) for d in differences])
    sigma = np.array(
        [
            math.sqrt(sum(d[c == k].sum() ** 2 for k in set(c.tolist())))
            for d, c in zip(differences, clusters, strict=True)
        ]
    )
    result = combined(differences, clusters, draws=200_000)
    pooled = np.mean((drawn / scales).sum(axis=1) >= (observed / scales).sum() - 1e-9)
    largest = np.mean((drawn / sigma).max(axis=1) >= (observed / sigma).max() - 1e-9)
    assert result.pooled.pvalue == pytest.approx(pooled, rel=1e-9)
    assert result.max_drop.pvalue == pytest.approx(largest, abs=0.005)
    tails = [np.mean(drawn >= observed - 1e-9, axis=0)]
    assert result.task_pvalues == pytest.approx(tails[0].tolist(), rel=1e-9)


def test_without_shared_clusters_the_result_is_that_of_independent_tasks() -> None:
    differences = [np.repeat([1.0, -1.0], [30, 18]), np.repeat([1.0, -1.0], [12, 9])]
    clusters = [np.arange(48), np.arange(48, 69)]
    tasks = [Evidence.from_differences(d) for d in differences]
    apart, joint = combine(tasks, rng=0), combined(differences, clusters, draws=200_000)
    for rule in ("pooled", "max_drop", "fisher", "omnibus", "holm"):
        assert getattr(joint, rule).pvalue == pytest.approx(getattr(apart, rule).pvalue, abs=0.004)


RULES_OF_A_RESULT = ["omnibus", "pooled", "max_drop", "fisher", "holm"]


def null_p_values(copies: int, runs: int, tasks: int = 2) -> Floats:
    """Return the p-values of all rules for a model with noise only, whose items occur in `tasks` tasks `copies` times."""
    rng = np.random.default_rng([copies, tasks])
    values = np.empty((runs, len(RULES_OF_A_RESULT)))
    for run in range(runs):
        signs = [rng.choice([-1.0, 1.0], 12 + 6 * task) for task in range(tasks)]
        shared = rng.choice([-1.0, 1.0], 10)
        differences = [np.concatenate([np.repeat(shared, copies), own]) for own in signs]
        clusters = [
            np.concatenate([np.repeat(np.arange(10), copies), 100 * (task + 1) + np.arange(len(own))])
            for task, own in enumerate(signs)
        ]
        result = combined(differences, clusters, draws=2_000)
        values[run] = [getattr(result, rule).pvalue for rule in RULES_OF_A_RESULT]
    return values


@pytest.mark.parametrize("copies", [1, 5])
def test_duplicated_items_keep_the_level_under_every_rule(copies: int) -> None:
    runs = 200
    sizes = np.mean(null_p_values(copies, runs) <= 0.05, axis=0)
    assert (sizes <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)).all(), dict(zip(RULES_OF_A_RESULT, sizes, strict=True))


def test_items_that_are_counted_twice_as_independent_exceed_the_level() -> None:
    """What the shared signs are for: the same flips in two tasks, taken for independent ones."""
    rng = np.random.default_rng(1)
    draws = [rng.choice([-1.0, 1.0], 40) for _ in range(250)]
    apart = [combine([Evidence.from_differences(d)] * 2, "pooled", n_resamples=1_000, rng=0).pvalue for d in draws]
    joint = [combined([d, d], [np.arange(40)] * 2, "pooled", draws=1_000).pvalue for d in draws]
    assert np.mean(np.array(apart) <= 0.05) > 0.09
    assert np.mean(np.array(joint) <= 0.05) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 250)


@pytest.mark.parametrize("rule", ["omnibus", "pooled", "max", "fisher", "holm"])
def test_a_collapse_is_not_limited_by_the_number_of_draws(rule: str) -> None:
    values = []
    for size in (50, 100, 400):
        d = np.ones(size)
        values.append(combined([d, d], [np.arange(size), np.arange(size)], rule, draws=1_000).pvalue)
    assert values[0] < 1e-9
    assert values == sorted(values, reverse=True)


def test_at_a_margin_dependent_tasks_have_bonferroni_and_the_pooled_test_on_clusters() -> None:
    d = np.repeat([1.0, -1.0, 0.0], [40, 5, 255])
    result = combined([d, d], [np.arange(300)] * 2, margin=0.02)
    one = Evidence.from_differences(np.repeat(d, 2), np.repeat(np.arange(300), 2)).pvalue_at(0.02)
    assert result.pooled.pvalue == pytest.approx(one)
    assert result.max_drop.pvalue == pytest.approx(holm(np.array(result.task_pvalues)).min())
    assert result.pvalue == pytest.approx(2 * min(result.pooled.pvalue, result.max_drop.pvalue))


def test_which_task_fails_is_decided_by_holm_which_holds_under_dependence() -> None:
    d, other = np.ones(30), np.array([1.0, -1.0, 1.0])
    clusters = [np.arange(30), np.arange(3)]
    result = combined([d, other], clusters)
    tasks = [Evidence.from_differences(values) for values in (d, other)]
    assert result.linked
    adjusted = closed_pvalues(tasks, result, rng=0)
    assert adjusted.tolist() == [max(p, result.pvalue) for p in result.task_pvalues_holm]
