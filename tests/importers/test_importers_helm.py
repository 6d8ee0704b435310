"""Runs of HELM, written as its runner writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from support.importing import message
from support.other_tools import helm, samples

import gate
from gate.importers import read_foreign


def test_the_task_is_the_name_of_the_run_without_its_model(tmp_path: Path) -> None:
    read = read_foreign(helm(tmp_path, samples(3), task="mmlu:subject=anatomy,method=multiple_choice_joint"))
    assert list(read.tasks) == ["mmlu:subject=anatomy,method=multiple_choice_joint"]
    assert read.tasks["mmlu:subject=anatomy,method=multiple_choice_joint"].facets["max_train_instances"] == "5"
    assert read.about["model"] == "org/m"


def test_runs_of_two_models_pair_by_task_and_instance(tmp_path: Path) -> None:
    base = helm(tmp_path / "base", samples(30), model="org/m")
    quantised = helm(tmp_path / "quantised", samples(30, right=15), model="org/m-awq")
    (task,) = gate.compare(base, quantised).tasks
    assert task.task == "gsm:stop=none"
    assert (task.n, task.regressions) == (30, 15)


def test_a_suite_is_a_folder_with_one_run_per_task(tmp_path: Path) -> None:
    helm(tmp_path, samples(3))
    helm(tmp_path, samples(4, topic="words"), task="mmlu:subject=anatomy")
    read = read_foreign(tmp_path)
    assert sorted(read.tasks) == ["gsm:stop=none", "mmlu:subject=anatomy"]
    assert read.left_out == ()


def test_counts_and_run_times_are_metrics_only_if_they_are_asked_for(tmp_path: Path) -> None:
    path = helm(tmp_path, samples(3))
    assert read_foreign(path).notes == ()
    assert "inference_runtime" in message(path, metric="inference_runtime")
    read = read_foreign(path, metric="inference_runtime", lower_is_better=["inference_runtime"])
    assert read.tasks["gsm:stop=none"].metric == "-inference_runtime"


def test_the_metric_of_a_scenario_is_preferred_to_exact_match(tmp_path: Path) -> None:
    path = helm(tmp_path, samples(3), metric="final_number_exact_match", more={"exact_match": 0.0})
    read = read_foreign(path)
    assert read.tasks["gsm:stop=none"].metric == "final_number_exact_match"
    assert "also available: exact_match" in read.notes[0]
    other = helm(tmp_path / "x", samples(3), metric="rouge_l", more={"f1_score": 0.0})
    assert "has 2 metrics: f1_score, rouge_l" in message(other)


def test_perturbed_versions_of_an_instance_are_items_of_one_cluster(tmp_path: Path) -> None:
    path = helm(tmp_path, samples(3), perturbations=[None, "typos"])
    rows = read_foreign(path).tasks["gsm:stop=none"].table.to_pylist()
    assert sorted(row["item_id"] for row in rows) == ["id0", "id0 typos", "id1", "id1 typos", "id2", "id2 typos"]
    named = [f"gsm:stop=none id{n}" for n in range(3)]  # other tasks have instances with the same ids
    assert sorted(row["cluster"] for row in rows) == sorted(named * 2)


def test_a_run_without_its_state_has_scores_but_no_answers(tmp_path: Path) -> None:
    path = helm(tmp_path, samples(3, right=1), state=False)
    table = read_foreign(path).tasks["gsm:stop=none"].table
    assert table["score"].to_pylist() == [1.0, 0.0, 0.0]
    assert table["output"].to_pylist() == [None] * 3


def test_a_run_without_its_specification_is_named_after_its_folder(tmp_path: Path) -> None:
    path = helm(tmp_path, samples(3))
    path.with_name("run_spec.json").unlink()
    assert list(read_foreign(path).tasks) == ["gsm:stop=none"]
    assert read_foreign(path.parent).about["model"] == "org_m"


def test_statistics_that_helm_removed_because_they_are_nan_are_missing(tmp_path: Path) -> None:
    rows = [replace(row, score=float("nan")) if number == 1 else row for number, row in enumerate(samples(3))]
    assert "1 of 3 samples have no score" in message(helm(tmp_path, rows))


def test_two_values_of_one_metric_are_refused(tmp_path: Path) -> None:
    path = helm(tmp_path, samples(3))
    entries = json.loads(path.read_text())
    entries[-1]["stats"].append(entries[-1]["stats"][0] | {"mean": 0.25})
    path.write_text(json.dumps(entries))
    assert "has two values of exact_match" in message(path)


def test_entries_without_an_instance_are_refused(tmp_path: Path) -> None:
    path = helm(tmp_path, samples(3))
    entries = json.loads(path.read_text())
    entries[0]["instance_id"] = 7
    path.write_text(json.dumps(entries))
    assert "expected instance_id as text" in message(path)


def test_the_files_of_the_website_hold_the_same_samples(tmp_path: Path) -> None:
    """`helm-summarize` writes display_predictions.json, display_requests.json and instances.json."""
    run = helm(tmp_path, samples(4, right=2)).parent
    (ours,) = read_foreign(run).tasks.values()
    predictions, requests, instances = [], [], []
    for state in json.loads((run / "scenario_state.json").read_text())["request_states"]:
        key = {"instance_id": state["instance"]["id"], "train_trial_index": 0}
        text = state["result"]["completions"][0]["text"]
        right = text == state["instance"]["references"][0]["output"]["text"]
        predictions.append(
            {**key, "predicted_text": text, "stats": {"exact_match": float(right), "num_output_tokens": 3.0}}
        )
        requests.append({**key, "request": state["request"]})
        instances.append(state["instance"])
    for name in ("scenario_state.json", "per_instance_stats.json", "stats.json"):
        (run / name).unlink()
    for name, content in (
        ("display_predictions", predictions),
        ("display_requests", requests),
        ("instances", instances),
    ):
        (run / f"{name}.json").write_text(json.dumps(content))
    (theirs,) = read_foreign(tmp_path).tasks.values()
    assert theirs.table == ours.table
    assert read_foreign(run / "display_predictions.json").tasks["gsm:stop=none"].table == ours.table


def test_totals_alone_are_refused_with_the_file_that_has_scores(tmp_path: Path) -> None:
    path = helm(tmp_path, samples(3))
    path.unlink()
    assert "Pass the per_instance_stats.json" in message(tmp_path)
