"""Smoothed accuracy: scores from the stored log-likelihoods of the choices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

import gate
from gate.app.policy import smoothing_of
from gate.common.smoothing import Smoothing
from gate.config import TaskSettings
from gate.errors import ConfigError, SampleError
from gate.importers.build import task_samples
from gate.samples import ModelSamples, TaskSamples, pair
from gate.samples.smoothing import choice_margins, smoothed

TASK = {"name": "t", "file": "t.jsonl", "prompt": "{{ q }}", "choices": "{{ c }}", "answer": "{{ a }}"}


def samples_of(logprobs: list[list[float]], targets: list[str], choices: Any = None, **columns: Any) -> TaskSamples:
    picked = [int(np.argmax(values)) if values else 0 for values in logprobs]
    return task_samples(
        "t",
        "acc",
        {
            "item_id": [f"i{n}" for n in range(len(logprobs))],
            "score": [float(str(pick) == target) for pick, target in zip(picked, targets, strict=True)],
            "output": list(map(str, picked)),
            "target": targets,
            "choice_logprobs": pa.array(logprobs, pa.list_(pa.float32())),
            "choices": choices,
            **columns,
        },
    )


def scores(samples: TaskSamples, metric: str = "acc_smooth", nats: float = 0.2) -> list[float]:
    side = smoothed(ModelSamples("m", {"t": samples}), {"t": Smoothing(metric, nats)})
    values: list[float] = side.tasks["t"].table["score"].to_pylist()
    return values


def test_the_score_is_the_normal_probability_of_the_margin() -> None:
    samples = samples_of([[-1.0, -1.2], [-2.0, -1.5, -1.9], [-3.0, -3.0]], ["0", "2", "1"])
    np.testing.assert_allclose(choice_margins(samples, "acc"), [0.2, -0.4, 0.0], atol=1e-6)
    np.testing.assert_allclose(scores(samples), norm.cdf([1, -2, 0]), atol=1e-6)
    np.testing.assert_allclose(scores(samples, nats=0.5), norm.cdf([0.4, -0.8, 0]), atol=1e-6)


def test_the_score_is_the_accuracy_under_noise_of_the_margin() -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, 200_000)
    samples = samples_of([[-1.0, -1.13]], ["0"])
    assert scores(samples)[0] == pytest.approx(np.mean(0.13 + noise > 0), abs=0.004)


def test_little_smoothing_is_accuracy() -> None:
    samples = samples_of([[-1.0, -1.2], [-2.0, -1.5]], ["0", "0"])
    assert scores(samples, nats=1e-6) == [1.0, 0.0]


def test_impossible_choices_are_certain() -> None:
    infinite = float("-inf")
    assert scores(samples_of([[infinite, -1.0], [-1.0, infinite]], ["0", "0"])) == [0.0, 1.0]


def test_acc_norm_smooth_divides_by_length() -> None:
    samples = samples_of([[-2.0, -6.0]], ["1"], [["ab", "abcdefgh"]])
    assert choice_margins(samples, "acc_norm")[0] == pytest.approx((-6 / 8 + 2 / 2) * 5)
    assert scores(samples, "acc_norm_smooth", 0.5)[0] == pytest.approx(norm.cdf(1.25 / 0.5), abs=1e-6)


def test_the_right_choice_may_be_given_as_text() -> None:
    samples = samples_of([[-1.0, -1.2]], ["dog"], [["cat", "dog"]])
    assert choice_margins(samples, "acc")[0] == pytest.approx(-0.2)


@given(
    st.lists(st.lists(st.floats(-50, 0, width=32), min_size=2, max_size=6), min_size=1, max_size=8),
    st.data(),
)
def test_margins_agree_with_the_definition(logprobs: list[list[float]], data: st.DataObject) -> None:
    targets = [data.draw(st.integers(0, len(values) - 1)) for values in logprobs]
    expected = [
        values[target] - max(value for k, value in enumerate(values) if k != target)
        for values, target in zip(logprobs, targets, strict=True)
    ]
    np.testing.assert_allclose(choice_margins(samples_of(logprobs, list(map(str, targets))), "acc"), expected)


@pytest.mark.parametrize(
    ("logprobs", "targets"),
    [([[-1.0, -2.0], [-1.0]], ["0", "0"]), ([[-1.0, -2.0]], ["7"]), ([[-1.0, -2.0]], ["unknown"])],
    ids=["one choice", "index", "text"],
)
def test_samples_without_choices_or_target_are_an_error(logprobs: list[list[float]], targets: list[str]) -> None:
    with pytest.raises(SampleError, match=f"1 of {len(targets)} items lack them"):
        scores(samples_of(logprobs, targets))


def test_items_without_any_possible_choice_are_an_error() -> None:
    nothing = [[-1.0, -2.0], [float("-inf")] * 3]
    with pytest.raises(SampleError, match="1 of 2 items have no choice with a finite log-likelihood"):
        scores(samples_of(nothing, ["0", "0"]))


def test_log_likelihoods_that_one_side_lacks_are_an_error_that_names_the_side() -> None:
    whole = samples_of([[-1.0, -1.2]] * 2, ["0", "0"])
    lacking = samples_of([[-1.0, -1.2], []], ["0", "0"])
    method = {"t": Smoothing("acc_smooth", 0.2)}
    smoothed(ModelSamples("base", {"t": whole}), method)
    with pytest.raises(SampleError, match=r"^cand: task t: .* 1 of 2 items lack them"):
        smoothed(ModelSamples("cand", {"t": lacking}), method)


def test_flips_stay_those_of_the_chosen_answers() -> None:
    sides = [
        smoothed(ModelSamples(name, {"t": samples_of(values, ["0"] * 3)}), {"t": Smoothing("acc_smooth", 0.2)})
        for name, values in (
            ("a", [[-1.0, -1.2], [-1.0, -1.5], [-2.0, -1.0]]),
            ("b", [[-1.3, -1.2], [-1.1, -1.5], [-2.1, -1.0]]),
        )
    ]
    (task,) = pair(*sides).tasks
    assert not task.binary
    assert (task.regressions, task.improvements, task.changed_answers) == (1, 0, 1)
    assert any("averaged over noise of 0.2 nats" in note for note in pair(*sides).notes)


def test_two_kinds_of_smoothing_do_not_pair() -> None:
    sides = [
        smoothed(ModelSamples("m", {"t": samples_of([[-1.0, -1.2]], ["0"])}), {"t": Smoothing("acc_smooth", nats)})
        for nats in (0.2, 0.3)
    ]
    with pytest.raises(SampleError, match=r"smoothing: '0\.2 nats' against '0\.3 nats'"):
        pair(*sides)


@pytest.mark.parametrize("nats", [0.0, -0.1, 0.51, float("nan")])
def test_smoothing_out_of_range_is_refused_with_the_reason(nats: float) -> None:
    with pytest.raises(ValueError, match="measures confidence, not accuracy"):
        TaskSettings.model_validate({**TASK, "metric": "acc_smooth", "smoothing": nats})
    with pytest.raises(ConfigError, match="measures confidence, not accuracy"):
        smoothing_of("acc_smooth", nats)


def test_smoothing_needs_a_smoothed_metric() -> None:
    with pytest.raises(ValueError, match="smoothing needs metric"):
        TaskSettings.model_validate({**TASK, "smoothing": 0.2})
    with pytest.raises(ConfigError, match="needs a smoothed metric"):
        smoothing_of("acc", 0.2)


def test_a_smoothed_task_is_evaluated_and_cached_as_accuracy() -> None:
    task = TaskSettings.model_validate({**TASK, "metric": "acc_norm_smooth"})
    assert task.resolved_metric == "acc_norm"
    assert task.smoothed == Smoothing("acc_norm_smooth", 0.2)


def test_a_uniform_loss_of_margin_is_found_sooner_than_by_accuracy() -> None:
    """800 items; the candidate loses .05 nats on every item, and few answers flip."""
    generator = np.random.default_rng(7)
    margin = generator.normal(0.5, 1.5, 800)
    sides = []
    for name, values in (("a", margin), ("b", margin + generator.normal(-0.05, 0.1, 800))):
        logprobs = np.column_stack([values, np.zeros(800)])
        sides.append(ModelSamples(name, {"t": samples_of(logprobs.tolist(), ["0"] * 800)}))
    acc = gate.compare(*sides)
    smooth = gate.compare(*sides, metric="acc_smooth")
    assert smooth.tasks[0].metric == "acc_smooth"
    assert smooth.p_value < 1e-3 < 0.05 < acc.p_value
    assert (smooth.tasks[0].regressions, smooth.flip_rate) == (acc.tasks[0].regressions, acc.flip_rate)


def test_exchangeable_models_keep_the_level() -> None:
    """400 pairs of models with equal noise: sign-flips of the smoothed scores reject 5 % within two standard errors."""
    from gate.stats import sign_flip

    generator = np.random.default_rng(8)
    rejected = 0
    for run in range(400):
        latent = generator.normal(0.5, 1.0, 60)
        a, b = norm.cdf((latent + generator.normal(0, 0.3, (2, 60))) / 0.2)
        rejected += sign_flip(a - b, n_resamples=2000, rng=run).pvalue <= 0.05
    assert rejected / 400 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
