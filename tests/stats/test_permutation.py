"""Sign flips: agreement with the exact test, exactness on lattices, validity of random signs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.stats import Evidence, mcnemar_exact, sign_flip


def enumerate_signs(sizes: list[float], observed: float) -> float:
    sums = [
        sum(s * d for s, d in zip(signs, sizes, strict=True)) for signs in itertools.product((-1, 1), repeat=len(sizes))
    ]
    return float(np.mean([s >= observed - 1e-9 for s in sums]))


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_binary_data_give_the_exact_mcnemar_test(b: int, c: int, same: int) -> None:
    differences = [1.0] * b + [-1.0] * c + [0.0] * same
    assert sign_flip(differences).pvalue == pytest.approx(mcnemar_exact(b, c).pvalue, rel=1e-9)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(1e-3, 1e3))
def test_the_unit_of_the_score_does_not_matter(b: int, c: int, unit: float) -> None:
    assert sign_flip([unit] * b + [-unit] * c).pvalue == pytest.approx(mcnemar_exact(b, c).pvalue, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.75, -0.5, -1 / 3, 0.0, 0.25, 2 / 3, 1.0]), min_size=1, max_size=9))
def test_means_over_repeats_are_exact(differences: list[float]) -> None:
    assert sign_flip(differences).pvalue == pytest.approx(enumerate_signs(differences, sum(differences)), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=9))
def test_few_continuous_differences_are_enumerated(differences: list[float]) -> None:
    # Differences far smaller than the largest disappear in rounding: their sums count as ties.
    differences = [d if abs(d) > 1e-3 else 0.0 for d in differences]
    assert sign_flip(differences).pvalue == pytest.approx(enumerate_signs(differences, sum(differences)), rel=1e-9)


def test_random_signs_agree_with_the_exact_lattice() -> None:
    generator = np.random.default_rng(2)
    differences = generator.choice([0.25, -0.25, 0.5, -0.5, 1.0, -0.75], 400) + 0.02
    lattice = np.round(differences * 50) / 50
    exact = sign_flip(lattice).pvalue
    nudged = lattice * (1 + 1e-5 * generator.standard_normal(400))  # no common step: signs are drawn
    assert Evidence.from_differences(nudged, rng=0).null.values.size > 10_000
    assert sign_flip(nudged, n_resamples=100_000, rng=0).pvalue == pytest.approx(exact, abs=0.005)


def test_clusters_flip_as_one() -> None:
    differences = [1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 0.0]
    clusters = ["a", "a", "a", "b", "c", "c", "c"]
    assert sign_flip(differences, clusters).pvalue == pytest.approx(enumerate_signs([3, -1, 2], 4), rel=1e-9)
    assert sign_flip(differences, list(range(7))) == sign_flip(differences)
    assert sign_flip([1.0, -1.0], ["a", "a"]).pvalue == 1.0
    assert sign_flip(differences, clusters).statistic == pytest.approx(4.0)
    assert sign_flip(differences, clusters).n_resamples == 0


def test_clusters_keep_the_error_rate_where_items_are_dependent() -> None:
    generator = np.random.default_rng(4)
    clusters = np.repeat(np.arange(40), 5)
    naive = clustered = 0
    for _ in range(300):
        differences = np.repeat(generator.choice([-1.0, 0.0, 1.0], 40), 5)
        naive += sign_flip(differences).pvalue <= 0.05
        clustered += sign_flip(differences, clusters).pvalue <= 0.05
    assert clustered / 300 <= 0.05 + 2.5 * (0.05 * 0.95 / 300) ** 0.5
    assert naive / 300 > 0.15


def test_the_result_depends_on_the_seed_but_not_on_the_order() -> None:
    generator = np.random.default_rng(6)
    differences = generator.standard_normal(500) + 0.05
    shuffled = generator.permutation(differences)
    assert sign_flip(differences, rng=0).pvalue == sign_flip(shuffled, rng=0).pvalue
    assert sign_flip(differences, rng=1).pvalue != sign_flip(differences, rng=2).pvalue
    assert sign_flip(differences, n_resamples=99, rng=0).pvalue >= 0.01
    assert sign_flip(np.abs(differences), n_resamples=999, rng=0).pvalue < 1e-100, "a bound, not 1 / 1000"


@pytest.mark.slow
def test_random_signs_keep_the_error_rate() -> None:
    generator = np.random.default_rng(7)
    p = np.array([sign_flip(generator.laplace(size=60), n_resamples=199, rng=k).pvalue for k in range(1200)])
    for alpha in (0.01, 0.05, 0.2):
        assert (p <= alpha).mean() == pytest.approx(alpha, abs=3.5 * (alpha * (1 - alpha) / 1200) ** 0.5)


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="differences: expected finite numbers, found nan"):
        sign_flip([0.1, float("nan")])
    with pytest.raises(ValueError, match="clusters: expected one per item"):
        sign_flip([0.1, 0.2], [1])
    with pytest.raises(ValueError, match="n_resamples: expected an integer of at least 1"):
        sign_flip([0.1], n_resamples=0)
    assert sign_flip([]).pvalue == 1.0
