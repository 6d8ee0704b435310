"""Test runs of DeepEval, written as it writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.importing import message
from support.other_tools import deepeval, samples

import gate
from gate.importers import read_foreign


@pytest.mark.parametrize("options", [{}, {"wrapped": True}, {"turns": True}], ids=["run", "latest run", "turns"])
def test_test_cases_are_read_with_their_metric(options: dict[str, bool], tmp_path: Path) -> None:
    path = deepeval(tmp_path, samples(3, right=2), **options)
    (task,) = read_foreign(path).tasks.values()
    assert task.metric == "Answer Relevancy"
    assert task.table["score"].to_pylist() == [1.0, 1.0, 0.0]
    assert task.table["target"].to_pylist() == ["0", "1", "2"]


def test_runs_are_paired_by_document_whatever_their_names_and_order(tmp_path: Path) -> None:
    base = deepeval(tmp_path / "a", samples(30), task="test_run_20260421_140114")
    awq = deepeval(tmp_path / "b", samples(30, right=15)[::-1], task="test_run_20260422_090000")
    (task,) = gate.compare(base, awq).tasks
    assert (task.n, task.regressions) == (30, 15)


def test_one_of_several_metrics_must_be_chosen(tmp_path: Path) -> None:
    path = deepeval(tmp_path, samples(3), more={"Faithfulness": 0.5})
    text = message(path)
    assert "has 2 metrics: Answer Relevancy, Faithfulness" in text
    assert "--metric" in text
    (task,) = read_foreign(path, metric="Faithfulness").tasks.values()
    assert task.table["score"].to_pylist() == [0.5] * 3


def test_success_of_the_test_case_can_be_chosen(tmp_path: Path) -> None:
    path = deepeval(tmp_path, samples(3, right=2), more={"Faithfulness": 0.6})
    (task,) = read_foreign(path, metric="success").tasks.values()
    assert task.table["correct"].to_pylist() == [True, True, False]


def test_a_metric_that_succeeds_below_its_threshold_is_better_when_lower(tmp_path: Path) -> None:
    rows = [replace(row, score=0.1 * number) for number, row in enumerate(samples(9))]
    path = deepeval(tmp_path, rows, metric="Custom", below=True)
    assert f"Custom is better when lower, as {path.name} says" in message(path)
    (task,) = read_foreign(path, lower_is_better=["Custom"]).tasks.values()
    assert task.metric == "-Custom"


def test_a_metric_that_succeeds_above_its_threshold_is_better_when_higher(tmp_path: Path) -> None:
    rows = [replace(row, score=5.0 + number) for number, row in enumerate(samples(9))]
    (task,) = read_foreign(deepeval(tmp_path, rows, metric="Hallucination check", threshold=7)).tasks.values()
    assert task.metric == "Hallucination check"


def test_test_cases_whose_judge_failed_are_refused_or_left_out(tmp_path: Path) -> None:
    path = deepeval(tmp_path, samples(4), error=[2])
    assert "1 of 4 samples ended with an error (the first: judge timed out)" in message(path)
    (task,) = read_foreign(path, allow_partial=True).tasks.values()
    assert task.table.num_rows == 3


def test_equal_test_cases_are_repeats(tmp_path: Path) -> None:
    (task,) = read_foreign(deepeval(tmp_path, [*samples(2), *samples(2)])).tasks.values()
    assert task.table["repeat"].to_pylist() == [0, 0, 1, 1]


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    deepeval(tmp_path, samples(4), task="test_run_20260421_140114")
    deepeval(tmp_path, samples(4, right=1), task="test_run_20260422_140114")
    assert "two sets of answers to the same prompts" in message(tmp_path)


def test_broken_runs_are_refused(tmp_path: Path) -> None:
    path = deepeval(tmp_path, [])
    assert "holds no rows" in message(path)
    path.write_text(json.dumps({"testCases": [3]}))
    assert "test case 1 is a int" in message(path)
    path.write_text(json.dumps({"testCases": [{"input": "x", "metricsData": [{"score": 1}]}]}))
    assert "a metric has no name" in message(path)
    path.write_text(
        json.dumps({"testCases": [{"input": "x", "metricsData": [{"name": "a", "score": s} for s in (0, 1)]}]})
    )
    assert "has two scores of a" in message(path)


def test_the_result_of_evaluate_as_json_is_read(tmp_path: Path) -> None:
    """`EvaluationResult.model_dump_json()`: names with underscores, nulls written."""
    run = deepeval(tmp_path / "run", samples(3, right=2))
    names = {"metricsData": "metrics_data", "actualOutput": "actual_output", "expectedOutput": "expected_output"}
    cases = [
        {names.get(key, key): value for key, value in case.items()} for case in json.loads(run.read_text())["testCases"]
    ]
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"test_results": cases, "confident_link": None, "test_run_id": None}))
    ours, theirs = (read_foreign(file).tasks[file.stem].table for file in (path, run))
    for column in ("item_id", "score", "output", "target", "prompt_hash"):
        assert ours[column] == theirs[column]
