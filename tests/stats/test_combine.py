"""`combine`: binary and other tasks under one error rate."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats import (
    RULES,
    Evidence,
    _rules,
    combine,
    fisher,
    holm,
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


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=4))
def test_combine_agrees_with_the_count_functions(pairs: list[tuple[int, int]]) -> None:
    b, c = [b for b, _ in pairs], [c for _, c in pairs]
    result = combine([Evidence.from_counts(b, c) for b, c in pairs], n_resamples=5000, rng=0)
    assert result.pooled == pooled(b, c)
    assert result.max_drop == max_drop(b, c)
    assert result.fisher == fisher(b, c)
    assert result.omnibus == omnibus(b, c, n_resamples=5000, rng=0)
    assert result.omnibus.pvalue == result.pvalue
    assert result.task_pvalues == pytest.approx(mcnemar_exact(b, c).pvalue, rel=1e-12)
    assert list(result.task_pvalues_holm) == holm(result.task_pvalues).tolist()


def test_binary_differences_are_counts() -> None:
    by_counts = combine([Evidence.from_counts(9, 4), Evidence.from_counts(11, 5)])
    by_items = combine([Evidence.from_differences([1.0] * b + [-1.0] * c + [0.0] * 50) for b, c in ((9, 4), (11, 5))])
    assert by_items.pvalue == pytest.approx(by_counts.pvalue, rel=1e-9)
    assert by_items.pooled.pvalue == pytest.approx(by_counts.pooled.pvalue, rel=1e-9)


@pytest.mark.parametrize("b", [3, 4, 5, 6])
@pytest.mark.parametrize(
    "scores", [[0.5, 0.25, -0.25, 1.0, 0.75], [-0.5, 0.25, 0.25, 1.0, 1.0], [0.31, 0.2, 0.17, 2.0, -0.1]]
)
def test_a_mixture_equals_the_enumeration_of_all_signs(b: int, scores: list[float]) -> None:
    evidences = [Evidence.from_counts(b, 7 - b), Evidence.from_differences(scores)]
    scale = np.sqrt(np.mean(np.square(scores)))
    sizes = [np.ones(7), np.abs(scores) / scale]
    observed = np.array([2.0 * b - 7, sum(scores) / scale])
    draws = np.array(
        [[np.dot(signs[:7], sizes[0]), np.dot(signs[7:], sizes[1])] for signs in itertools.product((-1, 1), repeat=12)]
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
    result = combine(evidences)
    assert result.pooled.pvalue == pytest.approx(p[0, at], rel=1e-9)
    assert result.max_drop.pvalue == pytest.approx(p[1, at], rel=1e-9)
    assert result.fisher.pvalue == pytest.approx(p[2, at], rel=1e-9)
    assert result.omnibus.pvalue == pytest.approx(np.mean(smallest <= smallest[at] + 1e-12), rel=1e-9)


def test_units_and_order_do_not_matter() -> None:
    generator = np.random.default_rng(11)
    scores, other = generator.standard_normal(80) + 0.1, generator.choice([0.0, 0.5, -0.5, 1.0], 60)
    tasks = [
        Evidence.from_counts(20, 12),
        Evidence.from_differences(scores, rng=0),
        Evidence.from_differences(other),
    ]
    rescaled = [
        Evidence.from_differences(other * 100),
        Evidence.from_differences(scores * 8, rng=0),
        tasks[0],
    ]
    first, second = combine(tasks, n_resamples=20_000, rng=0), combine(rescaled, n_resamples=20_000, rng=0)
    assert second.pooled.pvalue == pytest.approx(first.pooled.pvalue, rel=0.02)
    assert second.pvalue == pytest.approx(first.pvalue, abs=0.005)
    assert combine(tasks[::-1], n_resamples=20_000, rng=0).pvalue == first.pvalue


def test_a_single_task_gives_its_own_test() -> None:
    scores = np.random.default_rng(12).standard_normal(200) + 0.1
    result = combine([Evidence.from_differences(scores, n_resamples=10_000, rng=0)])
    expected = sign_flip(scores, rng=0)
    assert expected.n_resamples == 10_000
    assert result.pvalue == result.fisher.pvalue == result.pooled.pvalue == expected.pvalue
    assert result.max_drop.pvalue == expected.pvalue


@pytest.mark.parametrize("runs", [40, pytest.param(400, marks=pytest.mark.exhaustive)])
def test_a_mixture_keeps_the_error_rate(runs: int) -> None:
    generator = np.random.default_rng(13)
    rejected = dict.fromkeys(("pooled", "max_drop", "fisher", "omnibus", "holm"), 0)
    for run in range(runs):
        m = int(generator.integers(5, 40))
        b = int(generator.binomial(m, 0.5))
        evidences = [
            Evidence.from_counts(b, m - b),
            Evidence.from_differences(generator.laplace(size=50), n_resamples=199, rng=run),
            Evidence.from_differences(generator.choice([-0.5, -0.25, 0, 0.25, 0.5], 60)),
        ]
        result = combine(evidences, n_resamples=2000, rng=0)
        for rule in rejected:
            rejected[rule] += getattr(result, rule).pvalue <= 0.1
    for rule, count in rejected.items():
        assert count / runs <= 0.1 + 3 * (0.09 / runs) ** 0.5, rule


def test_a_margin_tolerates_small_drops() -> None:
    tasks = [Evidence.from_counts(68, 18, 1000), Evidence.from_counts(40, 30, 900)]
    strict, lenient = combine(tasks, rng=0), combine(tasks, margin=0.03, rng=0)
    assert lenient.task_pvalues == (
        margin_test(68, 18, 1000, 0.03).pvalue,
        margin_test(40, 30, 900, 0.03).pvalue,
    )
    assert lenient.pooled.pvalue == margin_test(108, 48, 1900, 0.03).pvalue
    for rule in ("pooled", "max_drop", "fisher", "omnibus"):
        assert getattr(lenient, rule).pvalue >= getattr(strict, rule).pvalue
    scores = [Evidence.from_differences(np.r_[np.full(30, 1.0), np.full(10, -0.5), np.zeros(400)])]
    assert combine(scores, margin=0.05).pvalue > combine(scores).pvalue
    assert combine(scores, margin=0.05).task_pvalues == (scores[0].pvalue_at(0.05),)


@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_the_deciding_rule_gives_statistic_and_pvalue(margin: float) -> None:
    tasks = [Evidence.from_counts(9, 4, 500), Evidence.from_counts(11, 5, 600)]
    for rule in RULES:
        result = combine(tasks, rule, margin=margin, n_resamples=1000, rng=0)
        deciding = getattr(result, "max_drop" if rule == "max" else rule)
        assert (result.statistic, result.pvalue) == (deciding.statistic, deciding.pvalue)
    assert result.omnibus.statistic == min(result.pooled.pvalue, result.max_drop.pvalue, result.fisher.pvalue)
    assert result.fisher.statistic == pytest.approx(-2 * np.log(result.task_pvalues).sum())
    if margin == 0.0:
        assert result.pooled.statistic == 11.0
        assert result.max_drop.statistic == pytest.approx(6 / 4)
    else:
        assert result.max_drop.statistic == min(result.task_pvalues)


def test_a_margin_needs_the_number_of_items() -> None:
    with pytest.raises(ValueError, match="n: expected the number of paired items where a margin is tested"):
        combine([Evidence.from_counts(3, 1)], margin=0.01)


def test_the_drop_is_in_the_units_of_the_score() -> None:
    assert Evidence.from_counts(68, 18, 1000).drop == 0.05
    assert Evidence.from_differences([20.0, -10.0, 0.0, 0.0]).drop == pytest.approx(2.5)
    assert Evidence.from_differences([0.0, 0.0]).drop == 0.0


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="evidences: expected at least one task"):
        combine([])
    with pytest.raises(ValueError, match="rule: expected one of"):
        combine([Evidence.from_counts(1, 1)], rule="any")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="margin: expected a drop of at least 0"):
        combine([Evidence.from_counts(1, 1)], margin=-0.1)


def test_the_pooled_law_of_a_large_mixture_agrees_with_simulation() -> None:
    generator = np.random.default_rng(15)
    evidences = [
        Evidence.from_counts(70, 52),
        Evidence.from_differences(generator.choice([0.0, 0.5, -0.5, 1.0, -1.0], 150) + 0.0),
        Evidence.from_differences(generator.laplace(size=90) + 0.1, rng=0),
    ]
    nulls = [e.null for e in evidences]
    draws = sum(null.values[np.searchsorted(np.cumsum(null.pmf)[:-1], generator.random(400_000))] for null in nulls)
    simulated = float(np.mean(draws >= sum(e.statistic for e in evidences) - 1e-9))
    assert combine(evidences, n_resamples=1000, rng=0).pooled.pvalue == pytest.approx(simulated, abs=0.004)


def test_the_far_tail_bound_is_valid_and_tight() -> None:
    nulls = (coins(400), coins(300))
    exact = float(log_sf(np.int64(500), np.int64(700)))
    bound = _rules.chernoff(nulls, 300.0)
    assert exact < bound < exact + 5


def test_counts_that_do_not_fit_the_number_of_items_are_refused() -> None:
    assert Evidence.from_counts(0, 0, 0).pvalue == 1.0
    with pytest.raises(ValueError, match=r"b \+ c: expected at most n discordant pairs, found 1 \+ 0 > 0"):
        Evidence.from_counts(1, 0, 0)
    with pytest.raises(ValueError, match="n: expected non-negative integers, found -1"):
        Evidence.from_counts(0, 0, -1)


@pytest.mark.filterwarnings("error")
def test_a_candidate_that_gains_everywhere_causes_no_warning_of_the_arithmetic() -> None:
    """Tails that round to 1."""
    for counts in ([(0, 20_000), (3, 9_000)], [(40, 20_000), (0, 1)]):
        result = combine([Evidence.from_counts(b, c) for b, c in counts], "max", rng=0)
        assert result.max_drop.pvalue == pytest.approx(1.0)
