"""Results of promptfoo, written as `promptfoo eval --output` writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.importing import message
from support.other_tools import promptfoo, samples

import gate
from gate.importers import read_foreign


@pytest.mark.parametrize("options", [{}, {"lines": True}, {"version": 2}], ids=["json", "jsonl", "version 2"])
def test_success_is_the_default_and_the_score_can_be_chosen(options: dict[str, object], tmp_path: Path) -> None:
    path = promptfoo(tmp_path, samples(3, right=2), **options)  # type: ignore[arg-type]
    read = read_foreign(path)
    assert read.tasks["output"].metric == "success"
    assert sorted(read.tasks["output"].table["correct"].to_pylist()) == [False, True, True]
    assert "also available: score" in read.notes[0]
    assert read_foreign(path, metric="score").tasks["output"].metric == "score"
    assert read.about["model"] == "openai:m"


def test_a_summary_without_a_wrapper_is_read(tmp_path: Path) -> None:
    path = promptfoo(tmp_path, samples(3))
    path.write_text(json.dumps(json.loads(path.read_text())["results"]))
    assert read_foreign(path).tasks["output"].table.num_rows == 3


def test_files_are_paired_whatever_their_names_and_the_order_of_results(tmp_path: Path) -> None:
    base = promptfoo(tmp_path, samples(30), task="base", model="openai:m")
    awq = promptfoo(tmp_path, samples(30, right=15), task="awq", model="openai:awq", lines=True)
    (task,) = gate.compare(base, awq).tasks
    assert (task.n, task.regressions) == (30, 15)


def test_several_providers_in_one_file_are_refused(tmp_path: Path) -> None:
    path = promptfoo(tmp_path, samples(3))
    content = json.loads(path.read_text())
    content["results"]["results"][1]["provider"] = {"id": "openai:awq", "label": ""}
    path.write_text(json.dumps(content))
    text = message(path)
    assert "holds the results of 2 providers: openai:awq, openai:m" in text
    assert "--filter-providers" in text


@pytest.mark.parametrize("version", [2, 3])
def test_errors_of_the_provider_are_not_wrong_answers(version: int, tmp_path: Path) -> None:
    path = promptfoo(tmp_path, samples(4, right=2), broken=[1], version=version)
    assert "1 of 4 samples ended with an error (the first: API error: 500)" in message(path)
    read = read_foreign(path, allow_partial=True)
    assert sorted(read.tasks["output"].table["score"].to_pylist()) == [0.0, 0.0, 1.0]


def test_several_prompts_are_items_of_one_cluster_per_test(tmp_path: Path) -> None:
    rows = read_foreign(promptfoo(tmp_path, samples(3), prompts=2)).tasks["output"].table.to_pylist()
    assert len({row["item_id"] for row in rows}) == 6
    assert len({row["cluster"] for row in rows}) == 3


def test_repeated_tests_are_repeats(tmp_path: Path) -> None:
    path = promptfoo(tmp_path, [*samples(2), *samples(2)])
    table = read_foreign(path).tasks["output"].table
    assert sorted(table["repeat"].to_pylist()) == [0, 0, 1, 1]


def test_named_scores_can_be_chosen(tmp_path: Path) -> None:
    path = promptfoo(tmp_path, samples(3), named={"tone": 0.5})
    assert read_foreign(path, metric="tone").tasks["output"].table["score"].to_pylist() == [0.5] * 3


def test_files_without_results_and_results_that_are_no_objects_are_refused(tmp_path: Path) -> None:
    path = promptfoo(tmp_path, [])
    assert "holds no rows" in message(path)
    content = json.loads(path.read_text())
    content["results"]["results"] = [3]
    path.write_text(json.dumps(content))
    assert "result 1 is a int" in message(path)
