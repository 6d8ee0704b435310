"""The exact unconditional tests at a margin and the intervals that invert them."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaincinv
from scipy.stats import binom

from gate.stats import (
    Evidence,
    _tango,
    _unconditional,
    combine,
    drop_interval,
    margin_critical,
    margin_test,
    mcnemar_exact,
    noninferiority,
    pooled_noninferiority,
)

items = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 400)).map(
    lambda t: (t[0], t[1], t[0] + t[1] + t[2])
)

# computed by an independent program that enumerates all outcomes, with beta = .0005
WORSE = [
    (3, 0, 100, 0.01, 0.12692),
    (8, 0, 100, 0.03, 0.02238),
    (12, 2, 300, 0.01, 0.03138),
    (20, 10, 300, 0.01, 0.10144),
    (9, 0, 200, 0.02, 0.02592),
]
CERTIFY = [
    (0, 0, 133, 0.02, 0.06859),
    (0, 0, 300, 0.01, 0.04954),
    (2, 3, 300, 0.02, 0.01031),
    (10, 14, 300, 0.02, 0.02511),
]


@pytest.mark.parametrize(("b", "c", "n", "margin", "p"), WORSE)
def test_reference_values_of_the_margin_test(b: int, c: int, n: int, margin: float, p: float) -> None:
    result = margin_test(b, c, n, margin)
    assert result.pvalue == pytest.approx(p, abs=1e-5)
    assert result.method == "exact unconditional"


@pytest.mark.parametrize(("b", "c", "n", "margin", "p"), CERTIFY)
def test_reference_values_of_noninferiority(b: int, c: int, n: int, margin: float, p: float) -> None:
    assert noninferiority(b, c, n, margin).pvalue == pytest.approx(p, abs=1e-5)


def outcomes(n: int) -> tuple[np.ndarray, np.ndarray]:
    b, c = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    kept = b + c <= n
    return b[kept], c[kept]


def probabilities(b: np.ndarray, c: np.ndarray, n: int, drop: float, q: float | np.ndarray) -> np.ndarray:
    """P[(b, c)] where an item improves with probability q and regresses with probability q + drop."""
    return np.asarray(binom.pmf(c, n, q) * binom.pmf(b, n - c, np.minimum(1.0, (q + drop) / (1 - q))))


def enumerated(b: int, c: int, n: int, margin: float, beta: float, worse: bool) -> float:
    """The definition of the p-value, over 200 values of the improvement rate."""
    all_b, all_c = outcomes(n)
    z = _tango.score_z(all_b, all_c, np.full_like(all_b, n), np.array(margin))
    observed = z[(all_b == b) & (all_c == c)][0]
    region = z >= observed - 1e-9 if worse else z <= observed + 1e-9
    low = 0.0 if c == 0 else betaincinv(c, n - c + 1, beta / 2)
    high = 1.0 if c == n else betaincinv(c + 1, n - c, 1 - beta / 2)
    largest = (1 - margin) / 2
    rates = np.linspace(min(low, largest), min(high, largest), 200)[:, None]
    return float(beta + probabilities(all_b[region], all_c[region], n, margin, rates).sum(axis=1).max())


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.3, 0.7])
@pytest.mark.parametrize("n", [1, 7, 40])
def test_p_values_equal_the_enumeration_of_all_outcomes(n: int, margin: float) -> None:
    generator = np.random.default_rng([n, round(100 * margin)])
    all_b, all_c = outcomes(n)
    for index in generator.integers(0, all_b.size, 6):
        b, c = int(all_b[index]), int(all_c[index])
        for worse in (True, False):
            p = _unconditional.pvalue(b, c, n, margin) if worse else noninferiority(b, c, n, margin).pvalue
            if p >= 0.01:
                expected = min(1.0, enumerated(b, c, n, margin, 0.0005, worse))
            else:  # the level at which the test with beta = level / 20 just rejects
                expected = enumerated(b, c, n, margin, p / 20, worse)
            assert p == pytest.approx(expected, abs=2e-5, rel=2e-3)


@pytest.mark.parametrize(("n", "margin"), [pytest.param(34, 0.03, marks=pytest.mark.exhaustive), (25, 0.1)])
def test_sizes_never_exceed_the_level(n: int, margin: float) -> None:
    """All outcomes are enumerated, at 60 improvement rates: the sizes are exact."""
    all_b, all_c = outcomes(n)
    worse = margin_test(all_b, all_c, n, margin).pvalue
    certified = noninferiority(all_b, all_c, n, margin).pvalue
    for q in np.linspace(0, np.sqrt((1 - margin) / 2), 60) ** 2:
        chance = probabilities(all_b, all_c, n, margin, float(q))
        for level in (0.05, 1 / 365, 1e-4):
            assert chance[worse <= level].sum() <= level
            assert chance[certified <= level].sum() <= level


@pytest.mark.parametrize("n", [12, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_intervals_cover_the_drop_at_every_improvement_rate(n: int) -> None:
    all_b, all_c = outcomes(n)
    low, high = drop_interval(all_b, all_c, n, 0.9)
    for drop in (0.0, 0.01, 0.1, -0.05):
        for q in np.linspace(max(0.0, -drop), (1 - drop) / 2 - 1e-9, 25):
            chance = probabilities(all_b, all_c, n, drop, float(q))
            assert chance[low > drop].sum() <= 0.05
            assert chance[high < drop].sum() <= 0.05


@settings(deadline=None, max_examples=30)
@given(items, st.floats(0.0, 0.3), st.sampled_from([0.8, 0.9, 0.99, 1 - 2 * 0.05 / 57]))
def test_interval_and_test_agree_at_the_margin(item: tuple[int, int, int], margin: float, level: float) -> None:
    b, c, n = item
    low, high = drop_interval(b, c, n, level, margin=margin)
    alpha = 0.5 - 0.5 * level
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert (low >= margin) == (margin_test(b, c, n, margin).pvalue <= alpha)
    if low > 0:
        assert mcnemar_exact(b, c).pvalue <= alpha
    if margin > 0:
        assert (high <= margin) == (noninferiority(b, c, n, margin).pvalue <= alpha)


def test_three_regressions_without_improvement_prove_nothing() -> None:
    """p = .125: Tango's interval lies above 0, the exact one does not."""
    assert drop_interval(3, 0, 100).low <= 0
    assert drop_interval(5, 0, 100).low > 0


@settings(deadline=None, max_examples=40)
@given(items, st.floats(0.005, 0.3))
def test_more_regressions_are_more_evidence(item: tuple[int, int, int], margin: float) -> None:
    b, c, n = item
    b = max(0, min(b, n - c - 1))
    assert margin_test(b + 1, c, n, margin).pvalue <= margin_test(b, c, n, margin).pvalue * 1.002 + 1e-6
    assert margin_test(b, c, n, margin).pvalue >= mcnemar_exact(b, c).pvalue


def test_p_values_fall_without_a_floor() -> None:
    p = margin_test([30, 60, 120, 240, 480, 960], [10] * 6, 1000, 0.02).pvalue
    assert (np.diff(np.log(p)) < -3).all()
    assert p[-1] < 1e-200
    certified = noninferiority(0, np.array([0, 50, 200, 400]), 1000, 0.02).pvalue
    assert (np.diff(np.log(certified)) < -10).all()


@pytest.mark.parametrize("level", [0.05, 1e-4])
@pytest.mark.parametrize(("c", "n", "margin"), [(0, 50, 0.02), (10, 1000, 0.01), (300, 5000, 0.02), (4, 10, 0.5)])
def test_critical_counts_are_where_the_test_rejects(c: int, n: int, margin: float, level: float) -> None:
    b = margin_critical(c, n, margin, level)
    if b <= n - c:
        assert margin_test(b, c, n, margin).pvalue <= level
    assert b == 0 or margin_test(b - 1, c, n, margin).pvalue > level


def test_a_million_pairs_take_about_a_second() -> None:
    start = time.process_time()
    assert margin_test(52_000, 31_000, 1_000_000, 0.02).pvalue == pytest.approx(2.6e-4, rel=0.01)
    assert noninferiority(31_500, 31_000, 1_000_000, 0.001).pvalue < 0.05
    low, high = drop_interval(52_000, 31_000, 1_000_000)
    assert (low, high) == pytest.approx((0.02053, 0.02147), abs=1e-5)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("n", [10, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_pooling_keeps_the_level_over_tasks_with_different_rates(n: int) -> None:
    """Two tasks with different rates, and a drop of exactly the margin: exact sizes.

    Where a task has 20 items and flips on nearly all of them, the test on the sums alone has a size of up to .053.
    """
    margin = 0.05
    b, c = outcomes(n)
    worse, certified, plain = (np.ones((2 * n + 1, 2 * n + 1)) for _ in range(3))
    for total_b, total_c in zip(*outcomes(2 * n), strict=True):
        first = min(int(total_b), n - min(int(total_c), n)), min(int(total_c), n)
        counts = [(first[0], int(total_b) - first[0]), (first[1], int(total_c) - first[1])]
        tasks = [Evidence.from_counts(x, y, n) for x, y in zip(*counts, strict=True)]
        worse[total_b, total_c] = combine(tasks, "pooled", margin=margin).pvalue
        certified[total_b, total_c] = pooled_noninferiority(*counts, [n, n], margin).pvalue
        plain[total_b, total_c] = noninferiority(int(total_b), int(total_c), 2 * n, margin).pvalue
    both = np.add.outer(b, b), np.add.outer(c, c)
    sizes = []
    for first_q, second_q in itertools.product(np.linspace(0, np.sqrt((1 - margin) / 2), 6) ** 2, repeat=2):
        chance = np.outer(*(probabilities(b, c, n, margin, float(q)) for q in (first_q, second_q)))
        sizes.append([chance[p[both] <= 0.05].sum() for p in (worse, certified, plain)])
    largest = np.max(sizes, axis=0)
    assert largest[0] <= 0.05
    assert largest[1] <= 0.05
    assert bool(largest[2] > 0.05) is (n == 20)


def test_pooled_counts_are_used_as_they_are_where_rates_are_moderate() -> None:
    counts = [10, 5], [8, 6], [400, 300]
    assert pooled_noninferiority(*counts, 0.02).pvalue == noninferiority(15, 14, 700, 0.02).pvalue
    tasks = [Evidence.from_counts(*task) for task in zip(*counts, strict=True)]
    assert combine(tasks, margin=0.01).pooled.pvalue == margin_test(15, 14, 700, 0.01).pvalue
