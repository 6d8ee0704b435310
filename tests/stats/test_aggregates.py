"""Aggregates over binary tasks, checked against enumeration of every outcome."""

import itertools
import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats import _sums, fisher, max_drop, mcnemar_exact, omnibus, pooled
from gate.stats._draws import Bounds, count_hits, enumerate_hits
from gate.stats._nulls import coins

small = st.integers(0, 4)
tiny_tasks = st.lists(st.tuples(small, small), min_size=1, max_size=4)
middling = st.integers(0, 40)
tasks = st.lists(st.tuples(middling, middling), min_size=1, max_size=6)
RULES = [pooled, max_drop, fisher]


def columns(pairs: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [b for b, _ in pairs], [c for _, c in pairs]


def brute_force(pairs: list[tuple[int, int]]) -> dict[str, Fraction]:
    """Exact p-values by listing all outcomes; comparisons in exact arithmetic, so that ties are ties."""
    sizes = [b + c for b, c in pairs]
    tails = [[Fraction(sum(comb(m, k) for k in range(b, m + 1)), 2**m) for b in range(m + 1)] for m in sizes]

    def statistics(outcome: tuple[int, ...]) -> tuple[int, Fraction, Fraction]:
        squares = [Fraction(abs(2 * b - m) * (2 * b - m), m) for b, m in zip(outcome, sizes, strict=True) if m]
        product = math.prod((tails[k][b] for k, b in enumerate(outcome)), start=Fraction(1))
        return sum(outcome), max(squares, default=Fraction(-(10**9))), -product

    outcomes = list(itertools.product(*(range(m + 1) for m in sizes)))
    mass = {
        o: math.prod((Fraction(comb(m, b), 2**m) for b, m in zip(o, sizes, strict=True)), start=Fraction(1))
        for o in outcomes
    }
    rows = {o: statistics(o) for o in outcomes}
    p_of: list[dict[Fraction | int, Fraction]] = []
    for rule in range(3):
        by_value: dict[Fraction | int, Fraction] = {}
        for o in outcomes:
            by_value[rows[o][rule]] = by_value.get(rows[o][rule], Fraction(0)) + mass[o]
        running, tail = Fraction(0), {}
        for value in sorted(by_value, reverse=True):
            running += by_value[value]
            tail[value] = running
        p_of.append(tail)
    smallest = {o: min(p_of[rule][rows[o][rule]] for rule in range(3)) for o in outcomes}
    observed = tuple(b for b, _ in pairs)
    return {
        "pooled": p_of[0][rows[observed][0]],
        "max": p_of[1][rows[observed][1]],
        "fisher": p_of[2][rows[observed][2]],
        "omnibus": sum((mass[o] for o in outcomes if smallest[o] <= smallest[observed]), Fraction(0)),
    }


@settings(max_examples=60, deadline=None)
@given(tiny_tasks)
def test_every_rule_equals_the_enumeration_of_all_outcomes(pairs: list[tuple[int, int]]) -> None:
    b, c = columns(pairs)
    expected = brute_force(pairs)
    assert pooled(b, c).pvalue == pytest.approx(float(expected["pooled"]), rel=1e-9)
    assert max_drop(b, c).pvalue == pytest.approx(float(expected["max"]), rel=1e-9)
    assert fisher(b, c).pvalue == pytest.approx(float(expected["fisher"]), rel=1e-9)
    assert omnibus(b, c).pvalue == pytest.approx(float(expected["omnibus"]), rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(tasks, st.randoms())
def test_task_order_and_tasks_without_flips_do_not_matter(pairs: list[tuple[int, int]], random) -> None:  # type: ignore[no-untyped-def]
    other = [*pairs, (0, 0)]
    random.shuffle(other)
    for rule in RULES:
        assert rule(*columns(other)).pvalue == pytest.approx(rule(*columns(pairs)).pvalue, rel=1e-12)
    assert omnibus(*columns(other), n_resamples=2000, rng=0).pvalue == pytest.approx(
        omnibus(*columns(pairs), n_resamples=2000, rng=0).pvalue, rel=1e-12
    )


@settings(max_examples=20, deadline=None)
@given(tasks, st.integers(0, 5))
def test_replacing_an_improvement_by_a_regression_never_weakens_the_evidence(
    pairs: list[tuple[int, int]], index: int
) -> None:
    index %= len(pairs)
    b, c = pairs[index]
    if c == 0:
        return
    worse = [*pairs[:index], (b + 1, c - 1), *pairs[index + 1 :]]
    for rule in RULES:
        p = rule(*columns(pairs)).pvalue
        assert 0 < p <= 1
        assert rule(*columns(worse)).pvalue <= p * (1 + 1e-9)


@given(middling, middling)
def test_a_single_task_gives_its_mcnemar_test(b: int, c: int) -> None:
    for rule in [*RULES, omnibus]:
        assert rule(b, c).pvalue == pytest.approx(mcnemar_exact(b, c).pvalue, rel=1e-9)


def test_the_grid_only_enlarges_fishers_p_and_only_slightly(monkeypatch: pytest.MonkeyPatch) -> None:
    b, c = np.array([20, 14, 31, 9]), np.array([10, 12, 25, 6])
    exact = fisher(b, c).pvalue
    monkeypatch.setattr(_sums, "ENUMERATE", 1)
    assert exact < fisher(b, c).pvalue < exact * 1.005


def test_the_far_tail_of_fisher_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    b, c = [38, 44, 49], [2, 1, 4]
    exact = fisher(b, c).pvalue
    assert exact < 1e-25
    monkeypatch.setattr(_sums, "ENUMERATE", 1)
    assert exact * (1 - 1e-9) < fisher(b, c).pvalue < exact * 1.05


def test_fisher_over_many_tasks_agrees_with_simulation_and_beats_the_chi_square_bound() -> None:
    generator = np.random.default_rng(1)
    m = generator.integers(20, 60, 57)
    b = generator.binomial(m, 0.53)
    cost = -float(np.log(mcnemar_exact(b, m - b).pvalue).sum())
    draws = np.sum([coins(k).costs[generator.binomial(k, 0.5, 40_000)] for k in m.tolist()], axis=0)
    simulated = float(np.mean(draws >= cost - 1e-9))
    assert fisher(b, m - b).pvalue == pytest.approx(simulated, abs=0.008)
    assert fisher(b, m - b).statistic == pytest.approx(2 * cost)
    assert fisher(b, m - b).pvalue < math.exp(_sums.gamma_log_sf(57, cost))


def test_fisher_is_monotone_across_its_three_algorithms() -> None:
    m = np.full(8, 150)
    values = [fisher(np.full(8, b), m - b).pvalue for b in range(75, 150, 5)]
    assert all(later < earlier for earlier, later in itertools.pairwise(values))
    assert values[-1] < 1e-250


def test_draws_follow_the_null_distribution() -> None:
    nulls = [coins(13), coins(8), coins(21)]
    for bounds in (Bounds(9.0, math.inf, math.inf), Bounds(math.inf, 4.0, math.inf), Bounds(14.0, 6.0, 1.9)):
        expected = enumerate_hits(nulls, bounds)
        frequency = count_hits(nulls, bounds, 0, 1 << 20, seed=3) / (1 << 20)
        assert frequency == pytest.approx(expected, abs=4.5 * math.sqrt(expected * (1 - expected) / (1 << 20)))


def test_omnibus_draws_agree_with_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    b, c = [5, 9, 7, 12], [14, 6, 3, 9]
    exact = omnibus(b, c)
    assert exact.n_resamples == 0
    assert exact.pvalue_ci == (exact.pvalue, exact.pvalue)
    monkeypatch.setattr(_sums, "ENUMERATE", 1)
    drawn = omnibus(b, c, rng=0)
    assert drawn.pvalue == pytest.approx(exact.pvalue, abs=0.002)
    assert drawn.pvalue_ci.low < drawn.pvalue < drawn.pvalue_ci.high


def test_draws_are_added_near_alpha() -> None:
    generator = np.random.default_rng(3)
    m = generator.integers(30, 60, 12)
    b = generator.binomial(m, 0.55)
    rough = omnibus(b, m - b, n_resamples=2000, rng=0)
    refined = omnibus(b, m - b, n_resamples=2000, rng=0, alpha=rough.pvalue * 1.02)
    assert rough.n_resamples == 2000
    assert 10_000 < refined.n_resamples < 1 << 19
    assert not refined.pvalue_ci.low <= rough.pvalue * 1.02 <= refined.pvalue_ci.high
    far = omnibus(b, m - b, n_resamples=2000, rng=0, alpha=min(0.99, rough.pvalue * 2))
    assert far.n_resamples == 2000


def test_rng_takes_a_seed_or_a_generator_or_none() -> None:
    m = np.random.default_rng(3).integers(30, 60, 12)
    b = m // 2 + 1

    def pvalue(rng: int | np.random.Generator | None) -> float:
        result = omnibus(b, m - b, n_resamples=5000, rng=rng)
        assert result.n_resamples == 5000
        return result.pvalue

    assert pvalue(4) == pvalue(4) != pvalue(5)
    assert pvalue(np.random.default_rng(4)) == pvalue(np.random.default_rng(4)) != pvalue(4)
    assert len({pvalue(None) for _ in range(3)}) > 1
    with pytest.raises(ValueError, match="rng: expected None, an integer or a numpy Generator, found '4'"):
        pvalue("4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rng: expected an integer of at least 0, found -1"):
        pvalue(-1)


def test_57_tasks_of_very_different_sizes() -> None:
    m = np.array([1, 2, 3, 5, 8, 900, 40_000] * 8 + [0])
    b = (m + 1) // 2
    assert 0.3 < omnibus(b, m - b, n_resamples=20_000, rng=0).pvalue <= 1
    assert omnibus(m, 0 * m, n_resamples=20_000, rng=0).pvalue == 1e-300, "three times the smallest"
    assert pooled([503_000] * 4, [497_000] * 4).pvalue > 0
    assert fisher([503_000] * 4, [497_000] * 4).pvalue < 1e-30


def test_errors_name_the_argument() -> None:
    for rule in [*RULES, omnibus]:
        with pytest.raises(ValueError, match="expected at least one task"):
            rule([], [])
        with pytest.raises(ValueError, match="b: expected non-negative integers, found -1"):
            rule([-1], [2])
