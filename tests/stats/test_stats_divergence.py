"""The estimate of KL divergence from a few stored tokens: unbiased, by exact enumeration on small vocabularies."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats.divergence import estimate_kl, kl_bound

FloatArray = npt.NDArray[np.float64]
logits = st.lists(st.floats(-6.0, 6.0), min_size=6, max_size=6)


def normalised(values: list[float]) -> FloatArray:
    array = np.array(values)
    return np.asarray(array - np.logaddexp.reduce(array))


def likeliest_first(p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    order = np.argsort(-p)
    return p[order], q[order]


@given(logits, logits, st.integers(1, 4), st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_the_mean_over_all_draws_is_the_divergence_and_the_mean_variance_is_theirs(
    first: list[float], second: list[float], k: int, m: int
) -> None:
    """Enumerates every sequence of m drawn tokens with its probability: no simulation, no tolerance for chance."""
    p, q = likeliest_first(normalised(first), normalised(second))
    exact = float((np.exp(p) * (p - q)).sum())
    tail = float(np.exp(p[k:]).sum())
    draws = np.array(list(itertools.product(range(k, len(p)), repeat=m)))
    weights = np.exp(p[draws]).prod(axis=1) / tail**m
    top = (np.tile(values[:k], (len(draws), 1)) for values in (p, q))
    result = estimate_kl(*top, np.full(len(draws), tail), p[draws], q[draws])
    assert weights.sum() == pytest.approx(1.0)
    mean = float(weights @ result.kl)
    assert mean == pytest.approx(exact, rel=1e-6, abs=1e-9)
    assert float(weights @ result.variance) == pytest.approx(
        float(weights @ (result.kl - mean) ** 2), rel=1e-6, abs=1e-9
    )


@given(logits, logits, st.integers(1, 5))
def test_one_bucket_for_the_rest_gives_a_lower_bound(first: list[float], second: list[float], k: int) -> None:
    p, q = likeliest_first(normalised(first), normalised(second))
    exact = float((np.exp(p) * (p - q)).sum())
    bound = kl_bound(p[None, :k], q[None, :k], [np.exp(p[k:]).sum()])[0]
    assert -1e-12 <= bound <= exact + 1e-5  # the smallest tail of q that float32 tells from none


def test_the_whole_vocabulary_needs_no_draws_and_has_no_variance() -> None:
    p, q = (normalised(list(values)) for values in np.random.default_rng(0).normal(size=(2, 50)))
    result = estimate_kl(p[None], q[None], [0.0], np.empty((1, 0)), np.empty((1, 0)))
    assert result.kl[0] == pytest.approx(float((np.exp(p) * (p - q)).sum()))
    assert result.variance[0] == 0.0
    assert kl_bound(p[None], q[None], [0.0])[0] == pytest.approx(result.kl[0])


def test_the_control_variate_removes_nearly_all_variance_for_near_models() -> None:
    rng = np.random.default_rng(1)
    p = np.sort(normalised(list(2 * rng.normal(size=5000))))[::-1]
    q = p + 0.05 * rng.normal(size=5000)
    q -= np.logaddexp.reduce(q)
    exact = float((np.exp(p) * (p - q)).sum())
    tail = np.exp(p[64:])
    drawn = 64 + rng.choice(len(tail), size=(2000, 16), p=tail / tail.sum())
    top = (np.tile(values[:64], (2000, 1)) for values in (p, q))
    kl = estimate_kl(*top, np.full(2000, tail.sum()), p[drawn], q[drawn]).kl
    plain = tail.sum() * (p[drawn] - q[drawn]).mean(axis=1)
    assert kl.mean() == pytest.approx(exact, rel=0.02)
    assert kl.std() < 0.1 * plain.std()


@pytest.mark.parametrize("distance", [0.05, 0.3, 1.0, 2.0])
def test_the_stated_standard_error_covers_the_divergence_of_near_and_of_distant_models(distance: float) -> None:
    """Log-ratios from Student's t with 4 degrees of freedom have heavy tails, as those of real models."""
    rng = np.random.default_rng(3)
    repeats = 300
    errors, variances = np.zeros(repeats), np.zeros(repeats)
    for _ in range(60):
        p = np.sort(normalised(list(2 * rng.normal(size=2000))))[::-1]
        q = p + distance * rng.standard_t(4, size=2000)
        q -= np.logaddexp.reduce(q)
        tail = np.exp(p[64:])
        drawn = 64 + rng.choice(len(tail), size=(repeats, 16), p=tail / tail.sum())
        top = (np.tile(values[:64], (repeats, 1)) for values in (p, q))
        result = estimate_kl(*top, np.full(repeats, tail.sum()), p[drawn], q[drawn])
        errors += result.kl - float((np.exp(p) * (p - q)).sum())
        variances += result.variance
    assert np.mean(np.abs(errors) <= 1.96 * np.sqrt(variances)) >= 0.85


def test_equal_distributions_rounded_to_float16_have_no_divergence_up_to_the_second_order() -> None:
    """The rounding of a log-probability of -12 is up to 0.004 nats; its square is what remains."""
    rng = np.random.default_rng(2)
    p = np.sort(normalised(list(3 * rng.normal(size=20_000))))[::-1]
    stored = p.astype(np.float16).astype(np.float64)
    drawn = rng.integers(64, 20_000, size=16)
    tail = 1.0 - np.exp(stored[:64]).sum()
    result = estimate_kl(stored[None, :64], p[None, :64], [tail], stored[None, drawn], p[None, drawn])
    assert abs(result.kl[0]) < 1e-5


def test_a_single_draw_has_an_unknown_variance() -> None:
    result = estimate_kl([[-0.5]], [[-0.6]], [0.39], [[-2.0]], [[-2.1]])
    assert np.isfinite(result.kl[0])
    assert np.isnan(result.variance[0])
