"""Excess flips: the exact binomial test, its size on noise alone, and clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from gate.stats import excess_flips

SCORES = st.lists(st.tuples(*[st.sampled_from([0.0, 0.5, 1.0])] * 3), min_size=1, max_size=60)


@settings(deadline=None)
@given(SCORES)
def test_the_p_value_is_the_binomial_tail(scores: list[tuple[float, float, float]]) -> None:
    control, second, candidate = zip(*scores, strict=True)
    u = sum(b == a != c for a, b, c in scores)
    v = sum(b == c != a for a, b, c in scores)
    result = excess_flips(control, second, candidate)
    assert (result.candidate_alone, result.control_alone, result.statistic) == (u, v, u - v)
    assert result.pvalue == pytest.approx(binom.sf(u - 1, u + v, 0.5), rel=1e-9)


@settings(deadline=None)
@given(SCORES)
def test_exchanging_control_and_candidate_exchanges_u_and_v(scores: list[tuple[float, float, float]]) -> None:
    control, second, candidate = zip(*scores, strict=True)
    one, other = excess_flips(control, second, candidate), excess_flips(candidate, second, control)
    assert (one.candidate_alone, one.control_alone) == (other.control_alone, other.candidate_alone)


def noisy_runs(rng: np.random.Generator, drift: float) -> list[np.ndarray]:
    """Three runs of one model; the second run is on another stack, whose answers drift."""
    margins = rng.normal(0.3, 1.0, 1_000)
    noise = [rng.normal(0.0, 0.1, 1_000) for _ in range(3)]
    return [(margins + noise[0] > 0) * 1.0, (margins + noise[1] - drift > 0) * 1.0, (margins + noise[2] > 0) * 1.0]


@pytest.mark.parametrize("drift", [0.0, 0.2])
def test_noise_alone_rarely_counts_as_more_than_noise_whatever_the_second_run_is(drift: float) -> None:
    rng = np.random.default_rng(5)
    rejected = [excess_flips(*noisy_runs(rng, drift)).pvalue <= 0.05 for _ in range(600)]
    assert np.mean(rejected) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 600)


def test_a_candidate_that_moves_more_is_found() -> None:
    rng = np.random.default_rng(1)
    margins = rng.normal(0.3, 1.0, 4_000)
    a, b, c = ((margins + rng.normal(0.0, sd, 4_000) > 0) * 1.0 for sd in (0.05, 0.05, 0.2))
    assert excess_flips(a, b, c).pvalue < 1e-4
    assert excess_flips(c, b, a).pvalue > 0.99


def test_items_of_one_cluster_count_as_one_sign() -> None:
    control, candidate = np.ones(12), np.zeros(12)
    alone = excess_flips(control, control, candidate)
    together = excess_flips(control, control, candidate, clusters=[n // 4 for n in range(12)])
    assert alone.pvalue == pytest.approx(0.5**12)
    assert together.pvalue == pytest.approx(0.5**3)


def test_runs_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"found shapes \(2,\), \(2,\), \(3,\)"):
        excess_flips([1, 0], [1, 0], [1, 0, 1])
