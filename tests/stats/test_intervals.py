"""Tango's interval of the drop, the interval of the flip rate, and the errors of the tests at a margin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from gate.stats import drop_interval, flip_rate_interval, margin_test, mcnemar_exact, noninferiority, tango_interval

items = st.tuples(st.integers(0, 80), st.integers(0, 80), st.integers(1, 400)).map(
    lambda t: (t[0], t[1], t[0] + t[1] + t[2])
)


@given(items, st.floats(0.5, 0.999))
def test_the_interval_contains_the_drop_and_is_symmetric(item: tuple[int, int, int], confidence_level: float) -> None:
    b, c, n = item
    low, high = tango_interval(b, c, n, confidence_level)
    assert -1 <= low <= (b - c) / n <= high <= 1
    mirrored = tango_interval(c, b, n, confidence_level)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_arrays_over_tasks() -> None:
    low, high = tango_interval([68, 86], [18, 43], [1000, 975])
    assert low.tolist() == [tango_interval(68, 18, 1000).low, tango_interval(86, 43, 975).low]
    assert (low < high).all()
    assert noninferiority([68, 0], [18, 0], 1000, 0.01).pvalue.shape == (2,)


def test_all_items_lost() -> None:
    low, high = tango_interval(10, 0, 10)
    assert 0.5 < low < 1
    assert high == pytest.approx(1.0)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_flip_interval_contains_the_rate_and_is_symmetric(pair: tuple[int, int]) -> None:
    flips, n = pair
    low, high = flip_rate_interval(flips, n)
    assert 0 <= low <= flips / n <= high <= 1
    assert flip_rate_interval(n - flips, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_coverage_of_both_intervals() -> None:
    generator = np.random.default_rng(8)
    n, p_worse, p_better = 300, 0.06, 0.04
    b = generator.binomial(n, p_worse, 4000)
    c = generator.binomial(n - b, p_better / (1 - p_worse))
    low, high = tango_interval(b, c, n, 0.9)
    assert np.mean((low <= 0.02) & (high >= 0.02)) == pytest.approx(0.9, abs=0.02)
    low, high = flip_rate_interval(b + c, n, 0.95)
    assert np.mean((low <= 0.1) & (high >= 0.1)) >= 0.94


@pytest.mark.parametrize("function", [tango_interval, drop_interval, noninferiority, margin_test])
def test_impossible_counts_raise(function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"b \+ c: expected at most n discordant pairs, found 3 \+ 3 > 5"):
        function(3, 3, 5, 0.5)
    with pytest.raises(ValueError, match="n: expected at least one item"):
        function(0, 0, 0, 0.5)
    with pytest.raises(ValueError, match="b: expected non-negative integers, found -1"):
        function(-1, 0, 5, 0.5)
    with pytest.raises(ValueError, match="expected a"):
        function(1, 0, 5, 1.5)


@pytest.mark.parametrize("confidence_level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(("flips", "n"), [(0, 1), (1, 1), (0, 100), (100, 100), (3, 100), (4321, 1_000_000)])
def test_the_flip_interval_is_scipys_clopper_pearson_interval(flips: int, n: int, confidence_level: float) -> None:
    expected = binomtest(flips, n).proportion_ci(confidence_level, method="exact")
    interval = flip_rate_interval(flips, n, confidence_level)
    assert interval == pytest.approx((expected.low, expected.high), rel=0, abs=5e-12)


def test_a_mcnemar_result_gives_the_interval_of_its_drop() -> None:
    assert mcnemar_exact(68, 18, 1000).drop_ci() == drop_interval(68, 18, 1000, 0.9)
    low, high = mcnemar_exact([68, 86], [18, 43], 1000).drop_ci(0.95)
    expected = drop_interval([68, 86], [18, 43], 1000, 0.95)
    assert (low.tolist(), high.tolist()) == (expected.low.tolist(), expected.high.tolist())
    with pytest.raises(ValueError, match="n: expected the number of paired items for an interval"):
        mcnemar_exact(68, 18).drop_ci()
    with pytest.raises(ValueError, match="confidence_level: expected a number strictly between 0 and 1"):
        mcnemar_exact(68, 18, 1000).drop_ci(1.0)
    with pytest.raises(ValueError, match=r"b \+ c: expected at most n discordant pairs"):
        mcnemar_exact(68, 18, 50)
