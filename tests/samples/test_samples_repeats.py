"""Repeats of an item are one unit: they are paired by repeat and averaged, and never counted as further items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from gate.config import DecisionSettings
from gate.decision.rows import Judged, evidence_of, task_row
from gate.samples import SAMPLE_SCHEMA, ModelSamples, TaskSamples, pair


def model(scores: Any) -> ModelSamples:
    """Return the samples of a model from an array of shape (items, repeats)."""
    rows = [
        {"task": "t", "item_id": f"i{item}", "repeat": repeat, "metric": "m", "score": float(score), "target": "x"}
        for item, row in enumerate(np.asarray(scores))
        for repeat, score in enumerate(row)
    ]
    return ModelSamples("m", {"t": TaskSamples("t", "m", pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA))})


def p_value(baseline: Any, candidate: Any) -> tuple[int, float]:
    """Return the number of items and the p-value of a comparison."""
    (paired,) = pair(model(baseline), model(candidate)).tasks
    return paired.n, evidence_of(paired, seed=0).pvalue


def test_repeats_do_not_add_items_nor_evidence() -> None:
    generator = np.random.default_rng(1)
    baseline = (generator.random((40, 1)) < 0.7).astype(float)
    candidate = np.where(generator.random((40, 1)) < 0.2, 1 - baseline, baseline)
    single = p_value(baseline, candidate)
    # each answer given five times over is no more evidence than once
    repeated = p_value(np.repeat(baseline, 5, axis=1), np.repeat(candidate, 5, axis=1))
    assert repeated == single
    assert single[0] == 40


def test_the_report_says_items_and_repeats() -> None:
    generator = np.random.default_rng(2)
    scores = (generator.random((30, 4)) < 0.5).astype(float)
    (paired,) = pair(model(scores), model(scores[:, ::-1])).tasks
    assert (paired.n, paired.repeats) == (30, 4)
    judged = Judged(paired, "gating", evidence_of(paired, seed=0))
    row = task_row(judged, DecisionSettings(), 1.0, None, True)
    assert (row.n, row.repeats, row.count, row.units) == (30, 4, "30 × 4", 30)
    single = task_row(
        Judged(p := pair(model(scores[:, :1]), model(scores[:, :1])).tasks[0], "gating", evidence_of(p, seed=0)),
        DecisionSettings(),
        1.0,
        None,
        True,
    )
    assert (single.repeats, single.count) == (1, "30")


def test_the_size_of_the_test_holds_with_repeats_that_depend_on_their_item() -> None:
    """Items with their own difficulty, four answers each, no difference between the models: 5 % of the tests reject."""
    generator = np.random.default_rng(3)
    rejected, runs = 0, 100
    for _ in range(runs):
        difficulty = generator.beta(0.5, 0.5, size=(40, 1))
        sides = [(generator.random((40, 4)) < difficulty).astype(float) for _ in range(2)]
        rejected += p_value(*sides)[1] <= 0.05
    assert rejected / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert rejected > 0
