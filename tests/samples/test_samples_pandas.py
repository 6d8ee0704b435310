"""Samples as data frames."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.evaluations import choice_task, evaluate, opened
from support.sample_sets import write_set

import gate.samples.record
from gate.evaluation.recording import Recording
from gate.importers.build import task_samples
from gate.samples import SAMPLE_SCHEMA, ModelSamples, TaskSamples
from gate.store import as_samples, read_sets

DTYPES = {
    "task": "string", "item_id": "string", "repeat": "int32", "prompt_hash": "string", "metric": "string",
    "score": "float64", "correct": "boolean", "output": "string", "target": "string", "choice_logprobs": "object",
    "cluster": "string", "tokens_in": "Int32", "tokens_out": "Int32", "prompt": "string", "choices": "object",
    "top_tokens": "object", "top_logprobs": "object", "tail_mass": "Float32", "kl": "Float32", "same_top": "boolean",
    "drawn_tokens": "object", "drawn_logprobs": "object", "kl_variance": "Float32",
    "finish_reason": "string", "reasoning": "string", "reasoning_closed": "boolean", "problems": "string",
    "answer_tokens": "Int32", "later_positions": "object", "later_top_tokens": "object",
    "later_top_logprobs": "object", "later_tail_mass": "object", "later_drawn_tokens": "object",
    "later_drawn_logprobs": "object", "later_kl": "object", "later_kl_variance": "object", "later_same_top": "object",
    "token_logprobs": "object", "text_tokens": "object", "text_words": "Int32", "text_bytes": "Int32",
}  # fmt: skip


def samples(task: str, scores: list[float]) -> TaskSamples:
    columns = {
        "item_id": [f"i{number}" for number in range(len(scores))],
        "score": scores,
        "output": ["a", *[None] * (len(scores) - 1)],
        "choice_logprobs": [[-1.0, -2.0], *[None] * (len(scores) - 1)],
        "tokens_in": [7, *[None] * (len(scores) - 1)],
    }
    return task_samples(task, "acc", columns)


def test_a_task_is_one_row_per_sample_with_nullable_columns() -> None:
    frame = samples("arc", [1.0, 0.0]).to_pandas()
    assert frame.dtypes.astype(str).to_dict() == DTYPES
    assert list(frame.columns) == SAMPLE_SCHEMA.names
    assert frame["item_id"].tolist() == ["i0", "i1"]
    assert frame["score"].tolist() == [1.0, 0.0]
    assert frame["correct"].tolist() == [True, False]
    assert frame["tokens_in"].tolist() == [7, pd.NA]
    assert frame["output"].isna().tolist() == [False, True]
    np.testing.assert_array_equal(frame["choice_logprobs"][0], np.array([-1.0, -2.0], np.float32))
    assert frame["choice_logprobs"][1] is None


def test_graded_scores_have_no_correct_column_values() -> None:
    assert samples("arc", [0.5, 1.0]).to_pandas()["correct"].isna().all()


def test_a_model_joins_its_tasks() -> None:
    model = ModelSamples("m", {name: samples(name, [1.0, 0.0, 1.0]) for name in ("arc", "faq")})
    frame = model.to_pandas()
    assert frame.dtypes.astype(str).to_dict() == DTYPES
    assert frame.groupby("task").score.mean().to_dict() == {
        "arc": pytest.approx(2 / 3),
        "faq": pytest.approx(2 / 3),
    }
    assert frame.index.tolist() == list(range(6))


def test_a_model_without_tasks_is_an_empty_frame_with_the_same_columns() -> None:
    frame = ModelSamples("m", {}).to_pandas()
    assert len(frame) == 0
    assert frame.dtypes.astype(str).to_dict() == DTYPES


def test_a_sample_set_on_disk_is_a_frame(tmp_path: Path) -> None:
    write_set(tmp_path / "sets" / "facts")
    model = read_sets(tmp_path / "sets")
    assert model is not None
    frame = model.to_pandas()
    assert frame.dtypes.astype(str).to_dict() == DTYPES
    assert len(frame) == 7


def test_the_distributions_of_an_evaluation_are_arrays(tmp_path: Path, tiny_model: Path) -> None:
    sample_set = evaluate(choice_task(tmp_path), opened(tiny_model), tmp_path / "set", recording=Recording(5))
    frame = as_samples([sample_set]).to_pandas()
    assert {len(tokens) for tokens in frame["top_tokens"]} == {5}
    assert frame["top_logprobs"][0].dtype == np.float16
    assert frame["kl"].isna().all()


def test_the_examples_of_the_docstrings_run() -> None:
    result = doctest.testmod(gate.samples.record)
    assert (result.attempted > 0, result.failed) == (True, 0)
