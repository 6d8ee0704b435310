"""Files of NeMo Evaluator, generated from its documentation ("Evaluation Result Format")."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.importing import message
from support.jsonl import write_jsonl

from gate.importers import read_foreign


def result(problem: int, reward: Any, **more: Any) -> dict[str, Any]:
    return {
        "problem_idx": problem,
        "repeat": 0,
        "reward": reward,
        "expected_answer": "42",
        "model_response": "The answer is 42.",
        "extracted_answer": "42",
        "scoring_details": {"method": "numeric"},
        "metadata": {"category": "arithmetic"},
        **more,
    }


def write(folder: Path, rows: list[dict[str, Any]], benchmark: str = "gsm8k", **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "results.jsonl"
    write_jsonl(path, rows)
    bundle = {
        "run_id": f"eval-20260402T120000Z-{benchmark}",
        "config": {"benchmark": benchmark, "model": "m", "temperature": 0.0, **config},
        "benchmark": {"name": benchmark, "scores": {"mean_reward": {"value": 0.5}}},
    }
    (folder / f"eval-20260402T120000Z-{benchmark}.json").write_text(json.dumps(bundle))
    return path


def test_results_bundle_and_folder_give_the_same_samples(tmp_path: Path) -> None:
    path = write(tmp_path, [result(0, 1.0), result(0, 0.0, repeat=1), result(1, 0.0)])
    read = [read_foreign(source) for source in (path, tmp_path, next(tmp_path.glob("eval-*.json")))]
    for samples in read:
        assert list(samples.tasks) == ["gsm8k"]
        table = samples.tasks["gsm8k"].table
        assert table["item_id"].to_pylist() == ["0", "0", "1"]
        assert table["repeat"].to_pylist() == [0, 1, 0]
        assert table["correct"].to_pylist() == [True, False, False]
        assert table["output"].to_pylist() == ["42"] * 3
        assert table["target"].to_pylist() == ["42"] * 3
        assert samples.tasks["gsm8k"].metric == "reward"
        assert samples.tasks["gsm8k"].facets == {"generation": '{"temperature":0.0}', "system_prompt": ""}


def test_a_folder_with_one_subfolder_per_benchmark_is_one_model(tmp_path: Path) -> None:
    write(tmp_path / "gsm8k", [result(0, 1.0)])
    write(tmp_path / "gpqa", [result(0, 0.25)], "gpqa")
    samples = read_foreign(tmp_path)
    assert sorted(samples.tasks) == ["gpqa", "gsm8k"]
    assert samples.tasks["gpqa"].table["correct"].to_pylist() == [None]
    write(tmp_path / "again", [result(0, 1.0)])
    assert "holds the benchmark gsm8k twice" in message(tmp_path)


def test_results_without_a_bundle_are_named_after_the_file(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"problem_idx": 3, "reward": 1}\n')
    samples = read_foreign(tmp_path)
    assert list(samples.tasks) == ["results"]
    assert "No eval-*.json" in samples.notes[0]
    assert samples.tasks["results"].table["output"].to_pylist() == [None]


def test_samples_that_the_evaluation_failed_to_run_are_refused(tmp_path: Path) -> None:
    lost = result(7, 0.0, scoring_details={"error": "timeout", "error_category": "infra_error"})
    text = message(write(tmp_path, [result(0, 1.0), lost]))
    assert "1 of 2 samples were graded 0 because the evaluation itself failed" in text
    assert "7" in text
    assert "1 of 2 samples have no score" in message(write(tmp_path, [result(0, None), result(1, 1.0)]))


def test_an_error_caused_by_the_model_counts_as_wrong_with_a_note(tmp_path: Path) -> None:
    own = result(7, 0.0, scoring_details={"error": "no tool call", "error_category": "graceful"})
    assert "1 samples got 0" in read_foreign(write(tmp_path, [result(0, 1.0), own])).notes[0]


def test_additional_scorers_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, [result(i, 1.0, scorer_rewards={"scorer:f1": 0.5}) for i in range(2)])
    assert read_foreign(path).tasks["gsm8k"].metric == "reward"
    assert read_foreign(path, metric="scorer:f1").tasks["gsm8k"].table["score"].to_pylist() == [0.5, 0.5]


def test_errors_name_invalid_rows_and_bundles(tmp_path: Path) -> None:
    path = write(tmp_path, [result(0, 1.0), {"problem_idx": None, "reward": 1.0}])
    assert f"{path}:2: expected problem_idx" in message(path)
    write(tmp_path, [result(0, "good")])
    assert f"{path}:1: reward is" in message(path)
    next(tmp_path.glob("eval-*.json")).write_text("{}")
    assert "has no benchmark.name" in message(path)
    write(tmp_path, [result(0, 1.0)], "gpqa")
    next(tmp_path.glob("eval-*gsm8k.json")).write_text('{"benchmark": {"name": "gsm8k"}}')
    assert "bundles of 2 benchmarks" in message(tmp_path)


def test_the_working_directory_is_labelled_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "run-7", [result(0, 1.0)])
    monkeypatch.chdir(tmp_path / "run-7")
    assert [read_foreign(Path(name)).label for name in (".", "results.jsonl")] == ["run-7", "run-7"]
