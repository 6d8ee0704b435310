"""Several binary tasks: pooled, max, Fisher and omnibus against brute force over every outcome."""

import itertools
import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats import _rules, _sums, fisher, max_drop, mcnemar_exact, omnibus, pooled
from gate.stats._draws import Bounds, count_hits, enumerate_hits
from gate.stats._nulls import coins
from gate.stats.omnibus import simulate

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
        squares = [
            Fraction(abs(2 * b - m) * (2 * b - m), m) for b, m in zip(outcome, sizes, strict=True) if m
        ]
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
def test_every_rule_is_the_enumeration_of_all_outcomes(pairs: list[tuple[int, int]]) -> None:
    b, c = columns(pairs)
    expected = brute_force(pairs)
    assert pooled(b, c) == pytest.approx(float(expected["pooled"]), rel=1e-9)
    assert max_drop(b, c) == pytest.approx(float(expected["max"]), rel=1e-9)
    assert fisher(b, c) == pytest.approx(float(expected["fisher"]), rel=1e-9)
    assert omnibus(b, c) == pytest.approx(float(expected["omnibus"]), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(tasks, st.randoms())
def test_neither_the_order_of_tasks_nor_empty_tasks_matter(pairs: list[tuple[int, int]], random) -> None:  # type: ignore[no-untyped-def]
    other = [*pairs, (0, 0)]
    random.shuffle(other)
    for rule in RULES:
        assert rule(*columns(other)) == pytest.approx(rule(*columns(pairs)), rel=1e-12)
    assert omnibus(*columns(other), draws=2000) == pytest.approx(
        omnibus(*columns(pairs), draws=2000), rel=1e-12
    )


@settings(max_examples=40, deadline=None)
@given(tasks, st.integers(0, 5))
def test_a_regression_in_place_of_an_improvement_is_never_weaker_evidence(
    pairs: list[tuple[int, int]], at: int
) -> None:
    at %= len(pairs)
    b, c = pairs[at]
    if c == 0:
        return
    worse = [*pairs[:at], (b + 1, c - 1), *pairs[at + 1 :]]
    for rule in RULES:
        p = rule(*columns(pairs))
        assert 0 < p <= 1
        assert rule(*columns(worse)) <= p * (1 + 1e-9)


@given(middling, middling)
def test_one_task_alone_is_its_own_mcnemar_test(b: int, c: int) -> None:
    for rule in [*RULES, omnibus]:
        assert rule(b, c) == pytest.approx(mcnemar_exact(b, c), rel=1e-9)


def test_the_grid_can_only_enlarge_fishers_p_and_hardly_does(monkeypatch: pytest.MonkeyPatch) -> None:
    b, c = np.array([20, 14, 31, 9]), np.array([10, 12, 25, 6])
    exact = fisher(b, c)
    monkeypatch.setattr(_sums, "ENUMERATE", 1)
    assert exact < fisher(b, c) < exact * 1.005


def test_the_far_tail_of_fisher_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    b, c = [38, 44, 49], [2, 1, 4]
    exact = fisher(b, c)
    assert exact < 1e-25
    monkeypatch.setattr(_sums, "ENUMERATE", 1)
    assert exact * (1 - 1e-9) < fisher(b, c) < exact * 1.05


def test_many_tasks_fall_between_the_exact_value_and_the_chi_square_bound() -> None:
    generator = np.random.default_rng(1)
    m = generator.integers(20, 60, 57)
    b = generator.binomial(m, 0.53)
    cost = -float(np.log(mcnemar_exact(b, m - b)).sum())
    draws = np.sum([coins(k).costs[generator.binomial(k, 0.5, 100_000)] for k in m.tolist()], axis=0)
    simulated = float(np.mean(draws >= cost - 1e-9))
    assert fisher(b, m - b) == pytest.approx(simulated, abs=0.005)
    assert fisher(b, m - b) < math.exp(_sums.gamma_log_sf(57, cost))


def test_fisher_is_smooth_across_its_three_ways_of_computing() -> None:
    m = np.full(8, 150)
    values = [fisher(np.full(8, b), m - b) for b in range(75, 150, 5)]
    assert all(later < earlier for earlier, later in itertools.pairwise(values))
    assert values[-1] < 1e-250


def test_draws_follow_the_null_distribution() -> None:
    # Few draws of few tasks, against the enumeration: both count the same hits.
    nulls = [coins(13), coins(8), coins(21)]
    for bounds in (Bounds(9.0, math.inf, math.inf), Bounds(math.inf, 4.0, math.inf), Bounds(14.0, 6.0, 1.9)):
        expected = enumerate_hits(nulls, bounds)
        found = count_hits(nulls, bounds, 0, 1 << 20, seed=3) / (1 << 20)
        assert found == pytest.approx(expected, abs=4.5 * math.sqrt(expected * (1 - expected) / (1 << 20)))


def test_omnibus_draws_agree_with_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    b, c = [5, 9, 7, 12], [14, 6, 3, 9]
    exact = omnibus(b, c)
    monkeypatch.setattr(_sums, "ENUMERATE", 1)
    assert omnibus(b, c) == pytest.approx(exact, abs=0.002)
    assert omnibus(b, c, seed=4) == omnibus(b, c, seed=4) != omnibus(b, c, seed=5)


def test_draws_are_added_near_alpha() -> None:
    generator = np.random.default_rng(3)
    m = generator.integers(30, 60, 12)
    b = generator.binomial(m, 0.55)
    tasks_ = _rules.from_counts(b, m - b, {})
    law = _rules.fisher_law(tasks_)
    smallest = min(_rules.log_pooled(tasks_, None), _rules.log_max(tasks_), _rules.log_fisher(tasks_, law))
    rough = simulate(tasks_, smallest, None, law, 2000, 0, None)
    sure = simulate(tasks_, smallest, None, law, 2000, 0, alpha=rough.p_value * 1.02, max_draws=1 << 19)
    assert rough.draws == 2000
    assert sure.draws > 10_000
    far = simulate(tasks_, smallest, None, law, 2000, 0, alpha=min(0.99, rough.p_value * 2))
    assert far.draws == 2000


def test_size_and_power_with_57_tasks_of_any_size() -> None:
    m = np.array([1, 2, 3, 5, 8, 900, 40_000] * 8 + [0])
    b = (m + 1) // 2
    assert 0.3 < omnibus(b, m - b, draws=20_000) <= 1
    assert omnibus(m, 0 * m, draws=20_000) == 1 / 20_001
    assert pooled([503_000] * 4, [497_000] * 4) > 0
    assert fisher([503_000] * 4, [497_000] * 4) < 1e-30


def test_it_asks_for_tasks() -> None:
    for rule in [*RULES, omnibus]:
        with pytest.raises(ValueError, match="expected at least one task"):
            rule([], [])
        with pytest.raises(ValueError, match="b: expected non-negative integers, found -1"):
            rule([-1], [2])
