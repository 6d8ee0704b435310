"""Scores are finite and on one scale; a declared range turns them into proportions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import SampleError
from gate.samples import SAMPLE_SCHEMA, ModelSamples, PairedTask, TaskSamples, pair


def side(
    scores: list[float], metric: str = "score", fingerprint: str | None = None, **columns: list[Any]
) -> ModelSamples:
    rows = [
        {"task": "qa", "item_id": f"i{n}", "repeat": 0, "metric": metric, "score": score}
        | {name: values[n] for name, values in columns.items()}
        for n, score in enumerate(scores)
    ]
    task = TaskSamples("qa", metric, pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA), reference="base")
    return ModelSamples("m", {"qa": task}, {} if fingerprint is None else {"fingerprint": fingerprint})


def paired(
    a: list[float], b: list[float], scale: tuple[float, float] | None = None, metric: str = "score"
) -> PairedTask:
    scales = None if scale is None else {"qa": scale}
    return pair(side(a, metric), side(b, metric), scales=scales).tasks[0]


def refused(a: list[float], b: list[float], scale: tuple[float, float] | None = None) -> str:
    with pytest.raises(SampleError) as caught:
        paired(a, b, scale)
    return str(caught.value)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf"), 1e308, -1e101])
@pytest.mark.parametrize("where", ["baseline", "candidate"])
def test_a_score_that_is_not_finite_is_refused_with_the_name_of_its_item(wrong: float, where: str) -> None:
    right, broken = [0.0, 1.0, 1.0], [0.0, 1.0, wrong]
    message = refused(broken, right) if where == "baseline" else refused(right, broken)
    assert (
        f"task qa: item i2 has {wrong:g} in the {where}; expected a finite number up to 1e+100 (1 of 3 items)"
        in message
    )


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_divergence_that_is_not_finite_is_refused_because_it_would_pass_every_limit(wrong: float) -> None:
    baseline = side([1.0, 1.0], fingerprint="base")
    with pytest.raises(SampleError, match=f"item i1 has {wrong:g} in the candidate; expected a finite KL divergence"):
        pair(baseline, side([1.0, 1.0], kl=[0.1, wrong]))
    assert pair(baseline, side([1.0, 1.0], kl=[0.1, None])).tasks[0].positions is None


def test_right_and_wrong_against_percent_is_refused_with_both_ranges() -> None:
    message = refused([0.0, 1.0, 1.0, 1.0], [0.0, 100.0, 100.0, 0.0])
    assert "the scales differ (baseline 0..1, candidate 0..100)" in message
    assert "`scale: [low, high]`" in message
    assert "the scales differ (baseline 0..100, candidate 0..1)" in refused([0.0, 100.0], [0.0, 1.0])


@given(
    st.lists(st.floats(0.02, 1.0), min_size=3, max_size=30),
    st.lists(st.floats(0.02, 1.0), min_size=3, max_size=30),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_graded_scores_against_percent_are_refused_on_either_side(a: list[float], b: list[float], swap: bool) -> None:
    n = min(len(a), len(b))
    sides = [a[:n], [100 * score for score in b[:n]]]
    assert "the scales differ" in refused(*(sides[::-1] if swap else sides))


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30),
    st.sampled_from([1.0, 5.0, 100.0]),
)
@settings(deadline=None, max_examples=60)
def test_scores_on_one_scale_are_never_refused_where_it_is_declared(
    scores: list[tuple[float, float]], top: float
) -> None:
    a, b = ([top * score for score in column] for column in zip(*scores, strict=True))
    if top >= 100 and (set(a) <= {0.0, 1.0} or set(b) <= {0.0, 1.0}):
        return  # could be right and wrong as 1 and 0
    task = paired(a, b, (0.0, top))
    assert task.unit == "proportion"
    np.testing.assert_allclose(task.baseline_score, [x for x, _ in scores], atol=1e-12)
    np.testing.assert_allclose(task.candidate_score, [y for _, y in scores], atol=1e-12)


def test_counts_that_only_sometimes_exceed_one_are_not_a_different_scale() -> None:
    assert paired([0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 2.0, 1.0]).unit == "score"


def test_a_declared_scale_does_not_hide_right_and_wrong_beside_percent() -> None:
    assert "the scales differ" in refused([0.0, 1.0, 1.0], [0.0, 100.0, 100.0], (0.0, 100.0))
    # a rating from 1 to 10 that collapsed to its lowest value is a loss, not another scale
    assert paired([8.0, 9.0, 7.0], [1.0, 1.0, 1.0], (1.0, 10.0)).candidate_score.tolist() == [0.0, 0.0, 0.0]


def test_scores_outside_of_the_declared_scale_are_refused_with_the_name_of_the_item() -> None:
    message = refused([3.0, 11.0], [3.0, 4.0], (1.0, 10.0))
    assert "item i1 has 11 in the baseline; expected a score from 1 to 10" in message


def test_scores_of_unknown_range_keep_their_unit() -> None:
    assert paired([3.0, 4.5], [3.0, 4.0]).unit == "score"
    assert paired([-3.0, -4.5], [-3.0, -4.0]).unit == "score"
    assert paired([0.3, 0.4], [0.5, 1.0]).unit == "proportion"


def test_percentages_of_a_declared_scale_become_a_binary_task() -> None:
    task = paired([0.0, 100.0, 100.0], [0.0, 0.0, 100.0], (0.0, 100.0))
    assert task.binary
    assert (task.regressions, task.improvements, task.unit) == (1, 0, "proportion")


def test_the_scale_of_a_metric_where_lower_is_better_is_given_in_its_own_unit() -> None:
    """Readers change the sign of such scores and begin the metric's name with a minus."""
    task = paired([-10.0, -20.0], [-15.0, -20.0], (0.0, 50.0), metric="-word_perplexity")
    np.testing.assert_allclose(task.baseline_score, [0.8, 0.6])
    np.testing.assert_allclose(task.candidate_score, [0.7, 0.6])
    assert task.regressions == 1
