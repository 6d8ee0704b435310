"""Curation: informative items are those on which a model itself varies; their selection is fair to both models."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom

from gate.common.selection import Selection
from gate.errors import SampleError
from gate.evaluation.curate import choice_probabilities, keep_informative
from gate.importers.build import task_samples
from gate.samples import ModelSamples, TaskSamples, pair
from gate.samples.record import mean_scores

RULE = Selection("baseline", "w" * 64, runs=10, temperature=0.3, seed=0, audit=0.1)


def task_of(metric: str, choices: list[list[str]], gold: list[int]) -> Any:
    items = tuple(
        SimpleNamespace(item_id=f"i{n}", choices=tuple(one), target_index=right)
        for n, (one, right) in enumerate(zip(choices, gold, strict=True))
    )
    return SimpleNamespace(name="t", metric=metric, items=items, fingerprint="f" * 64)


def samples_of(logprobs: Any, facets: dict[str, str] | None = None, metric: str = "acc") -> TaskSamples:
    """Return samples whose right choice is always the first one."""
    values = np.asarray(logprobs, dtype=np.float32)
    picked = values.argmax(axis=1)
    return task_samples(
        "t",
        metric,
        {
            "item_id": [f"i{n}" for n in range(len(values))],
            "score": (picked == 0).astype(float),
            "target": ["0"] * len(values),
            "output": picked.astype(str).tolist(),
            "choice_logprobs": pa.array(values.tolist(), pa.list_(pa.float32())),
        },
        facets,
    )


def test_the_probability_of_the_right_answer_is_tempered() -> None:
    # at temperature 0.3, a gap of 0.3 nats means odds of e to 1
    task = task_of("acc", [["a", "b"]] * 3, [0, 1, 0])
    right = choice_probabilities(task, samples_of([[-1.0, -1.3], [-1.0, -1.3], [-1.0, -30.0]]), RULE)
    odds = np.e / (1 + np.e)
    np.testing.assert_allclose(list(right.values()), [odds, 1 - odds, 1.0], atol=1e-6)


@pytest.mark.parametrize(("metric", "mean"), [("acc_norm", 5), ("acc_bytes", 5.5)])
def test_a_normalised_metric_normalises_the_probability(metric: str, mean: float) -> None:
    # per unit of length the long choice is likelier: -6/8 (-6/9 per byte) against -2/2
    task = task_of(metric, [["ab", "abcdefgé"]], [1])
    right = choice_probabilities(task, samples_of([[-2.0, -6.0]]), RULE)
    gap = (-6 / (2 * mean - 2) + 2 / 2) * mean / 0.3
    assert right["i0"] == pytest.approx(1 / (1 + np.exp(-gap)), abs=1e-9)


def test_the_random_number_of_an_item_is_uniform_and_depends_on_seed_and_item() -> None:
    draws = np.array([RULE.draw(f"i{n}") for n in range(4000)])
    assert abs(draws.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 4000)
    assert draws.min() >= 0
    assert draws.max() < 1
    other = Selection("baseline", "w", 10, 0.3, seed=1, audit=0.1)
    assert RULE.draw("i0") == draws[0] != other.draw("i0")


def test_repeats_are_averaged_per_item() -> None:
    samples = task_samples(
        "t",
        "exact_match",
        {
            "item_id": ["a", "a", "b", "b"],
            "repeat": [0, 1, 0, 1],
            "score": [1.0, 0.0, 1.0, 1.0],
            "target": ["x"] * 4,
            "output": ["x"] * 4,
        },
    )
    assert mean_scores(samples.table) == {"a": 0.5, "b": 1.0}


def test_items_that_vary_are_kept_and_a_share_of_the_others() -> None:
    count = 5000
    task = task_of("acc", [["a", "b"]] * count, [0] * count)
    right = {f"i{n}": (0.5, 1.0, 0.0, 0.999)[n % 4] for n in range(count)}
    curation = keep_informative(task, "b" * 64, RULE, right, "probability")
    kept = np.array([item_id in set(curation.kept) for item_id in right]).reshape(-1, 4).mean(axis=0)
    assert kept[0] == pytest.approx(1 - 2**-9, abs=0.01)
    np.testing.assert_allclose(kept[1:], 0.1, atol=4 * np.sqrt(0.09 / 1250))
    assert len(curation.kept) + curation.always_right + curation.always_wrong == count


def test_sampled_answers_that_vary_are_always_kept() -> None:
    task = task_of("exact_match", [[]] * 4, [0] * 4)
    rule = Selection("other", "w", 10, 0.3, seed=0, audit=1e-9)
    curation = keep_informative(task, "b", rule, {"i0": 0.0, "i1": 0.1, "i2": 0.9, "i3": 1.0}, "sampled")
    assert curation.kept == ["i1", "i2"]
    assert (curation.total, curation.always_right, curation.always_wrong) == (4, 1, 1)


def test_nothing_left_is_an_error() -> None:
    task = task_of("acc", [["a", "b"]], [0])
    with pytest.raises(SampleError, match="nothing would be left"):
        keep_informative(task, "b", Selection("baseline", "w", 10, 0.3, 0, 1e-9), {"i0": 1.0}, "probability")


def test_samples_without_loglikelihoods_are_an_error() -> None:
    task = task_of("acc", [["a", "b"]] * 2, [0, 0])
    with pytest.raises(SampleError, match="no log-likelihoods of item i1"):
        choice_probabilities(task, samples_of([[-1.0, -2.0]]), RULE)


def sides(baseline: Any, candidate: Any, facets: dict[str, str]) -> list[ModelSamples]:
    """Return both models' samples of two-choice items with these margins."""
    return [
        ModelSamples(name, {"t": samples_of(np.column_stack([margin, np.zeros_like(margin)]), facets)})
        for name, margin in (("base", baseline), ("cand", candidate))
    ]


def test_an_item_counts_only_if_the_candidate_selects_it_too() -> None:
    n = 2000
    certain = np.full(n, -9.0)  # the candidate is certain and wrong
    facets = {"items": "text", "selection": RULE.facet()}
    pairing = pair(*sides(np.full(n, 0.1), certain, facets))
    (task,) = pairing.tasks
    audited = sum(RULE.draw(f"i{item}") < RULE.audit for item in range(n))
    assert (task.n, task.regressions, task.improvements) == (audited, audited, 0)
    assert f"{n - audited:,} of {n:,} curated items do not count" in pairing.notes[0]


def test_the_same_items_count_with_the_sides_exchanged() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(0, 2, (2, 400))
    facets = {"selection": RULE.facet()}
    kept = [set(pair(*sides(a, b, facets)).tasks[0].baseline["item_id"].to_pylist()) for a, b in ((x, y), (y, x))]
    assert kept[0] == kept[1]
    assert 0 < len(kept[0]) < 400


def test_no_item_that_counts_is_an_error() -> None:
    facets = {"selection": Selection("baseline", "w", 10, 0.3, 0, 1e-9).facet()}
    with pytest.raises(SampleError, match="none of its 3 curated items"):
        pair(*sides(np.zeros(3), np.full(3, -90.0), facets))


def test_items_of_another_model_all_count() -> None:
    facets = {"selection": Selection("other", "w", 10, 0.3, 0, 0.1).facet()}
    pairing = pair(*sides(np.zeros(3) + 0.1, np.full(3, -90.0), facets))
    assert pairing.tasks[0].n == 3


def test_stored_samples_of_an_old_curation_carry_a_warning() -> None:
    pairing = pair(*sides(np.zeros(3) + 0.1, np.zeros(3), {"items": "3 of 9 items, chosen by the baseline"}))
    assert "The test is biased" in pairing.notes[0]


def test_the_size_is_kept_where_selection_by_the_baseline_alone_breaks_it() -> None:
    """Exchangeable models of accuracy .40 with noise of .4 nats: size .05 is kept, and the old rule exceeds .08.

    The margins are those of two choices, so the probability of a right answer is a logistic function of the margin.
    The counts are those of `Selection.selects`; benchmarks/curation.py has the large study.
    """
    generator = np.random.default_rng(3)
    n, runs = 10_000, 400
    rejected = np.zeros((runs, 2))
    for run in range(runs):
        latent = generator.normal(-0.27, 1.0, n)
        baseline, candidate = latent + generator.normal(0, 0.4, (2, n))
        chance, floor = generator.random(n), RULE.audit
        selected = []
        for margin in (baseline, candidate):
            right = 1 / (1 + np.exp(-margin / RULE.temperature))
            varies = 1 - right**RULE.runs - (1 - right) ** RULE.runs
            selected.append(chance < np.maximum(varies, floor))
        for column, counts in enumerate((selected[0], selected[0] & selected[1])):
            b = np.count_nonzero((baseline > 0) & (candidate <= 0) & counts)
            c = np.count_nonzero((baseline <= 0) & (candidate > 0) & counts)
            rejected[run, column] = binom.sf(b - 1, b + c, 0.5) <= 0.05
    old, symmetric = rejected.mean(axis=0)
    assert symmetric <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
    assert old > 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
