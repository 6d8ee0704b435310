"""One task: McNemar's test, the e-value, and the binomial functions under them."""

from fractions import Fraction
from math import comb, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.stats import McNemarResult, log_e_value, mcnemar_exact, mcnemar_midp
from gate.stats._binomial import critical_count, log_pmf, log_sf

counts = st.integers(0, 400)


def tail(b: int, m: int) -> Fraction:
    return Fraction(sum(comb(m, k) for k in range(b, m + 1)), 2**m)


@given(counts, counts)
def test_the_pvalue_is_the_binomial_tail_to_full_precision(b: int, c: int) -> None:
    assert mcnemar_exact(b, c).pvalue == pytest.approx(float(tail(b, b + c)), rel=1e-12)


@given(counts, counts)
def test_midp_counts_half_of_the_observed_outcome(b: int, c: int) -> None:
    expected = tail(b, b + c) - Fraction(comb(b + c, b), 2 ** (b + c + 1)) if b + c else 1
    assert mcnemar_midp(b, c).pvalue == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(("b", "m"), [(1, 1), (900, 1000), (1990, 2000), (2100, 4000), (15999, 16000)])
def test_logarithms_stay_exact_where_the_probability_underflows(b: int, m: int) -> None:
    whole = sum(comb(m, k) for k in range(b, m + 1))
    assert float(log_sf(np.int64(b), np.int64(m))) == pytest.approx(log(whole) - m * log(2), rel=1e-13)
    assert float(log_pmf(np.int64(b), np.int64(m))) == pytest.approx(log(comb(m, b)) - m * log(2), rel=1e-13)


@given(counts, counts)
def test_the_pvalue_is_monotone_in_both_counts(b: int, c: int) -> None:
    assert mcnemar_exact(b + 1, c).pvalue <= mcnemar_exact(b, c).pvalue * (1 + 1e-14)
    assert mcnemar_exact(b, c + 1).pvalue >= mcnemar_exact(b, c).pvalue * (1 - 1e-14)


@given(counts, counts)
def test_the_pvalues_of_both_directions_overlap_in_the_observed_outcome(b: int, c: int) -> None:
    outcome = comb(b + c, b) / 2 ** (b + c)
    assert mcnemar_exact(b, c).pvalue + mcnemar_exact(c, b).pvalue == pytest.approx(1 + outcome, rel=1e-12)


@given(st.integers(0, 3000), st.floats(1e-12, 0.4))
def test_the_critical_count_is_the_smallest_that_reaches_the_level(m: int, alpha: float) -> None:
    critical = int(critical_count(np.int64(m), alpha))
    assert critical == m + 1 or float(log_sf(np.int64(critical), np.int64(m))) <= log(alpha)
    assert critical == 0 or float(log_sf(np.int64(critical - 1), np.int64(m))) > log(alpha)


def test_arrays_give_arrays_and_ints_give_floats() -> None:
    assert isinstance(mcnemar_exact(3, 1).pvalue, float)
    assert isinstance(log_e_value(3, 1), float)
    assert mcnemar_exact(3, 1, 10) == McNemarResult(2.0, 0.3125, "exact", 3, 1, 10)
    assert mcnemar_midp(3, 1).method == "mid-p"
    assert mcnemar_exact([3, 0], [1, 0]).statistic.tolist() == [2.0, 0.0]
    assert mcnemar_exact(np.array([3, 0]), np.array([1, 0])).pvalue.tolist() == [0.3125, 1.0]


@pytest.mark.parametrize("function", [mcnemar_exact, mcnemar_midp, log_e_value])
def test_invalid_counts_raise_an_error_that_names_the_argument(function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="b: expected non-negative integers, found -1"):
        function(-1, 2)
    with pytest.raises(ValueError, match=r"c: expected non-negative integers, found 0\.5"):
        function(1, 0.5)
    with pytest.raises(ValueError, match="c: expected non-negative integers, found nan"):
        function(1, float("nan"))
    with pytest.raises(ValueError, match="b: expected non-negative integers, found data of type bool"):
        function(True, 1)
    with pytest.raises(ValueError, match="b and c: expected the same shape"):
        function([1, 2], [1, 2, 3])


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_e_value_is_the_mixture_likelihood_ratio(b: int, c: int) -> None:
    # The integral of q^b (1-q)^c over [1/2, 1], by the binomial tail in exact arithmetic.
    m = b + c
    integral = Fraction(1, (m + 1) * comb(m, b)) * tail(c + 1, m + 1)
    assert log_e_value(b, c) == pytest.approx(log(Fraction(2) ** (m + 1) * integral), abs=1e-10)


def test_checking_the_e_value_after_every_item_keeps_the_error_rate() -> None:
    generator = np.random.default_rng(5)
    heads = np.cumsum(generator.integers(0, 2, (2000, 300)), axis=1)
    items = np.broadcast_to(np.arange(1, 301), heads.shape)
    stopped = (log_e_value(heads.ravel(), (items - heads).ravel()) >= log(20)).reshape(heads.shape).any(axis=1)
    assert stopped.mean() <= 0.05
