"""Binary and other tasks under one error rate."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats import (
    Evidence,
    _rules,
    fisher,
    holm,
    joint_test,
    margin_test,
    max_drop,
    mcnemar_exact,
    omnibus,
    pooled,
    sign_flip,
)
from gate.stats._binomial import log_sf
from gate.stats._nulls import coins

counts = st.integers(0, 30)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=4))
def test_binary_tasks_give_exactly_the_named_functions(pairs: list[tuple[int, int]]) -> None:
    b, c = [b for b, _ in pairs], [c for _, c in pairs]
    result = joint_test([Evidence.from_counts(b, c) for b, c in pairs], draws=5000)
    assert result.pooled == pooled(b, c)
    assert result.max_drop == max_drop(b, c)
    assert result.fisher == fisher(b, c)
    assert result.omnibus == result.p_value == omnibus(b, c, draws=5000)
    assert result.tasks == pytest.approx(mcnemar_exact(b, c), rel=1e-12)
    assert list(result.tasks_holm) == holm(result.tasks).tolist()


def test_binary_differences_are_counts() -> None:
    by_counts = joint_test([Evidence.from_counts(9, 4), Evidence.from_counts(11, 5)])
    by_items = joint_test(
        [Evidence.from_differences([1.0] * b + [-1.0] * c + [0.0] * 50) for b, c in ((9, 4), (11, 5))]
    )
    assert by_items.p_value == pytest.approx(by_counts.p_value, rel=1e-9)
    assert by_items.pooled == pytest.approx(by_counts.pooled, rel=1e-9)


@pytest.mark.parametrize("b", [3, 4, 5, 6])
@pytest.mark.parametrize(
    "scores", [[0.5, 0.25, -0.25, 1.0, 0.75], [-0.5, 0.25, 0.25, 1.0, 1.0], [0.31, 0.2, 0.17, 2.0, -0.1]]
)
def test_a_mixture_is_the_enumeration_of_all_signs(b: int, scores: list[float]) -> None:
    evidences = [Evidence.from_counts(b, 7 - b), Evidence.from_differences(scores)]
    scale = np.sqrt(np.mean(np.square(scores)))
    sizes = [np.ones(7), np.abs(scores) / scale]
    observed = np.array([2.0 * b - 7, sum(scores) / scale])
    draws = np.array(
        [
            [np.dot(signs[:7], sizes[0]), np.dot(signs[7:], sizes[1])]
            for signs in itertools.product((-1, 1), repeat=12)
        ]
    )
    sigma = np.array([np.sqrt(np.sum(s**2)) for s in sizes])
    statistics = [
        draws.sum(axis=1),
        (draws / sigma).max(axis=1),
        -sum(np.log([np.mean(draws[:, k] >= x - 1e-9) for x in draws[:, k]]) for k in range(2)),
    ]
    p = np.array([[np.mean(s >= x - 1e-9) for x in s] for s in statistics])
    at = int(np.flatnonzero(np.all(np.abs(draws - observed) < 1e-9, axis=1))[0])
    smallest = p.min(axis=0)
    result = joint_test(evidences)
    assert result.pooled == pytest.approx(p[0, at], rel=1e-9)
    assert result.max_drop == pytest.approx(p[1, at], rel=1e-9)
    assert result.fisher == pytest.approx(p[2, at], rel=1e-9)
    assert result.omnibus == pytest.approx(np.mean(smallest <= smallest[at] + 1e-12), rel=1e-9)


def test_units_and_order_do_not_matter() -> None:
    generator = np.random.default_rng(11)
    scores, other = generator.standard_normal(80) + 0.1, generator.choice([0.0, 0.5, -0.5, 1.0], 60)
    tasks = [
        Evidence.from_counts(20, 12),
        Evidence.from_differences(scores),
        Evidence.from_differences(other),
    ]
    rescaled = [Evidence.from_differences(other * 100), Evidence.from_differences(scores * 8), tasks[0]]
    first, second = joint_test(tasks, draws=20_000), joint_test(rescaled, draws=20_000)
    assert second.pooled == pytest.approx(first.pooled, rel=0.02)
    assert second.p_value == pytest.approx(first.p_value, abs=0.005)
    assert joint_test(tasks[::-1], draws=20_000).p_value == first.p_value


def test_one_task_alone_is_its_own_test() -> None:
    scores = np.random.default_rng(12).standard_normal(200) + 0.1
    result = joint_test([Evidence.from_differences(scores, draws=10_000)])
    assert result.p_value == result.fisher == result.pooled == result.max_drop == sign_flip(scores)


@pytest.mark.slow
def test_a_mixture_keeps_the_error_rate() -> None:
    generator = np.random.default_rng(13)
    rejected = dict.fromkeys(("pooled", "max_drop", "fisher", "omnibus", "holm"), 0)
    runs = 100
    for run in range(runs):
        m = int(generator.integers(5, 40))
        b = int(generator.binomial(m, 0.5))
        evidences = [
            Evidence.from_counts(b, m - b),
            Evidence.from_differences(generator.laplace(size=50), draws=499, seed=run),
            Evidence.from_differences(generator.choice([-0.5, -0.25, 0, 0.25, 0.5], 60)),
        ]
        result = joint_test(evidences, draws=2000)
        for rule in rejected:
            rejected[rule] += getattr(result, rule) <= 0.1
    for rule, count in rejected.items():
        assert count / runs <= 0.1 + 3 * (0.09 / runs) ** 0.5, rule


def test_a_margin_forgives_small_drops() -> None:
    tasks = [Evidence.from_counts(68, 18, 1000), Evidence.from_counts(40, 30, 900)]
    strict, lenient = joint_test(tasks), joint_test(tasks, margin=0.03)
    assert lenient.tasks == (margin_test(68, 18, 1000, 0.03), margin_test(40, 30, 900, 0.03))
    assert lenient.pooled == margin_test(108, 48, 1900, 0.03)
    for rule in ("pooled", "max_drop", "fisher", "omnibus"):
        assert getattr(lenient, rule) >= getattr(strict, rule)
    scores = [Evidence.from_differences(np.r_[np.full(30, 1.0), np.full(10, -0.5), np.zeros(400)])]
    assert joint_test(scores, margin=0.05).p_value > joint_test(scores).p_value


def test_a_margin_needs_the_number_of_items() -> None:
    with pytest.raises(ValueError, match="n: expected the number of paired items where a margin is tested"):
        joint_test([Evidence.from_counts(3, 1)], margin=0.01)


def test_drops_come_in_the_units_of_the_score() -> None:
    assert Evidence.from_counts(68, 18, 1000).drop == 0.05
    assert Evidence.from_differences([20.0, -10.0, 0.0, 0.0]).drop == pytest.approx(2.5)
    assert Evidence.from_differences([0.0, 0.0]).drop == 0.0


def test_wrong_calls_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="evidences: expected at least one task"):
        joint_test([])
    with pytest.raises(ValueError, match="rule: expected one of"):
        joint_test([Evidence.from_counts(1, 1)], rule="any")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="margin: expected a drop of at least 0"):
        joint_test([Evidence.from_counts(1, 1)], margin=-0.1)


def test_pooling_a_large_mixture_agrees_with_drawing_from_it() -> None:
    generator = np.random.default_rng(15)
    evidences = [
        Evidence.from_counts(70, 52),
        Evidence.from_differences(generator.choice([0.0, 0.5, -0.5, 1.0, -1.0], 150) + 0.0),
        Evidence.from_differences(generator.laplace(size=90) + 0.1),
    ]
    nulls = [e.null for e in evidences]
    draws = sum(
        null.values[np.searchsorted(np.cumsum(null.pmf)[:-1], generator.random(400_000))] for null in nulls
    )
    simulated = float(np.mean(draws >= sum(e.statistic for e in evidences) - 1e-9))
    assert joint_test(evidences, draws=1000).pooled == pytest.approx(simulated, abs=0.004)


def test_the_bound_of_a_pooled_far_tail_is_a_bound_and_near() -> None:
    nulls = (coins(400), coins(300))
    exact = float(log_sf(np.int64(500), np.int64(700)))
    bound = _rules._chernoff(nulls, 300.0)
    assert exact < bound < exact + 5
