"""Divergences along answers: weights of sampled positions, and the standard error of their mean."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gate.samples.along import error_of_mean, item_means, measured_positions, weighted_quantiles
from gate.samples.pairing import pair
from gate.samples.record import SAMPLE_SCHEMA, ModelSamples, TaskSamples


def rows(*items: dict[str, Any]) -> pa.Table:
    base = {"task": "t", "repeat": 0, "metric": "acc", "score": 1.0}
    numbered = [base | {"item_id": f"i{number}"} | item for number, item in enumerate(items)]
    return pa.Table.from_pylist(numbered, schema=SAMPLE_SCHEMA)


def answer(kl: list[float], chosen: tuple[int, ...], length: int, variance: float | None = 0.0) -> dict[str, Any]:
    """Return the columns of an answer that is measured at position 0 and at the chosen ones."""
    return {
        "kl": kl[0],
        "kl_variance": variance,
        "same_top": True,
        "answer_tokens": length,
        "later_positions": list(chosen),
        "later_kl": [kl[place] for place in chosen],
        "later_kl_variance": [variance] * len(chosen),
        "later_same_top": [place % 2 == 0 for place in chosen],
    }


def test_the_mean_over_all_samples_of_positions_is_the_mean_over_all_positions() -> None:
    """Every set of 3 of the 6 later positions, exactly: both the mean and its error's square are unbiased."""
    kl = [0.5, 0.1, 0.9, 0.0, 0.3, 0.2, 0.4]
    sets = list(itertools.combinations(range(1, 7), 3))
    positions = [measured_positions(rows(answer(kl, chosen, 7))) for chosen in sets]
    means = np.array([item_means(each)[0] for each in positions if each is not None])
    errors = np.array([error_of_mean(each) for each in positions if each is not None])
    assert means.mean() == pytest.approx(np.mean(kl), rel=1e-6)
    assert (errors**2).mean() == pytest.approx(means.var(), rel=1e-6)


def test_the_mean_over_all_samples_of_items_and_positions_is_the_mean_over_all() -> None:
    """Every pair of 4 texts, and every set of 2 of the 4 later positions of each, exactly."""
    texts = [[0.5, 0.1, 0.9, 0.0, 0.3], [0.2, 0.2, 0.4, 0.8, 0.0], [1.0, 0.7, 0.1, 0.2, 0.6], [0.0, 0.1, 0.1, 0.3, 0.0]]
    sets = list(itertools.combinations(range(1, 5), 2))
    means, errors = [], []
    for measured in itertools.combinations(range(4), 2):
        stored = np.isin(np.arange(4), measured)
        for chosen in itertools.product(sets, repeat=2):
            columns = [{} for _ in texts]
            for text, places in zip(measured, chosen, strict=True):
                columns[text] = answer(texts[text], places, 5)
            positions = measured_positions(rows(*columns), stored)
            assert positions is not None
            assert positions.rows.tolist() == list(measured)
            means.append(item_means(positions).mean())
            errors.append(error_of_mean(positions))
    assert np.mean(means) == pytest.approx(np.mean(texts), rel=1e-6)
    assert np.square(np.array(errors, float)).mean() == pytest.approx(np.var(means), rel=1e-6)


def test_a_divergence_is_needed_where_the_baseline_stores_a_distribution() -> None:
    table = rows(answer([0.2], (), 1), {}, answer([0.4], (), 1))
    assert measured_positions(table) is None
    assert measured_positions(table, np.array([True, True, False])) is None
    assert measured_positions(rows({}, {}), np.array([True, False])) is None
    positions = measured_positions(table, np.array([True, False, True]))
    assert positions is not None
    assert (positions.rows.tolist(), positions.total) == ([0, 2], 3)


def test_only_a_complete_sample_counts_as_random() -> None:
    """A server that returned no distribution for some answers is no random sample of them."""
    stored = {"top_tokens": [1], "top_logprobs": [-0.1], "tail_mass": 0.1}
    base = rows(stored, {}, stored, {})
    candidate = rows(answer([0.2], (), 1), {}, answer([0.4], (), 1), {})
    for texts, means in ((2, [0.2, 0.4]), (3, None), (None, None)):
        sides = [
            ModelSamples("a", {"t": TaskSamples("t", "acc", base, measured_texts=texts)}, {"fingerprint": "a's"}),
            ModelSamples("b", {"t": TaskSamples("t", "acc", candidate, reference="a's")}),
        ]
        positions = pair(*sides).tasks[0].positions
        assert (None if positions is None else item_means(positions).tolist()) == (
            None if means is None else pytest.approx(means)
        )


def test_one_measured_item_of_several_has_no_standard_error() -> None:
    positions = measured_positions(rows(answer([0.2], (), 1), {}), np.array([True, False]))
    assert positions is not None
    assert error_of_mean(positions) is None


def test_with_all_positions_only_the_draws_of_tokens_are_uncertain() -> None:
    positions = measured_positions(
        rows(answer([0.2, 0.4], (1,), 2, variance=0.04), answer([0.1], (), 1, variance=0.04))
    )
    assert positions is not None
    assert item_means(positions).tolist() == pytest.approx([0.3, 0.1])
    # half of each position's error for the first item, all of it for the second
    assert error_of_mean(positions) == pytest.approx(np.sqrt(2 * 0.04 / 4 + 0.04) / 2)


def test_a_lower_bound_has_no_standard_error() -> None:
    positions = measured_positions(rows(answer([0.2], (), 1, variance=None), answer([0.1], (), 1)))
    assert positions is not None
    assert error_of_mean(positions) is None


def test_sets_of_older_versions_have_the_first_token_only() -> None:
    positions = measured_positions(rows({"kl": 0.3, "same_top": False}, {"kl": 0.1, "same_top": True}))
    assert positions is not None
    assert item_means(positions).tolist() == pytest.approx([0.3, 0.1])
    assert positions.same_top.tolist() == [False, True]
    assert error_of_mean(positions) is None
    assert measured_positions(rows({"kl": 0.3}, {})) is None


def test_quantiles_count_a_sampled_position_for_those_it_stands_for() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 8.0, 1.0])
    assert weighted_quantiles(values, weights, (0.5, 0.8, 0.9, 0.99)) == [1.0, 1.0, 2.0, 3.0]
