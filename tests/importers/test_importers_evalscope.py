"""Reviews of evalscope, written as its cache manager writes them."""

from __future__ import annotations

import json
from pathlib import Path

from support.importing import message
from support.jsonl import read_jsonl, write_jsonl
from support.other_tools import evalscope, samples

import gate
from gate.importers import read_foreign


def test_the_task_is_the_file_and_the_model_is_the_folder(tmp_path: Path) -> None:
    read = read_foreign(evalscope(tmp_path, samples(3), model="qwen"))
    assert list(read.tasks) == ["gsm8k_main"]
    assert read.about["model"] == "qwen"
    assert read.tasks["gsm8k_main"].table["item_id"].to_pylist() == ["0", "1", "2"]


def test_a_run_folder_is_read_without_its_predictions_and_reports(tmp_path: Path) -> None:
    evalscope(tmp_path, samples(3))
    report = tmp_path / "reports" / "m" / "gsm8k.json"
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"name": "m@gsm8k", "metrics": []}))
    read = read_foreign(tmp_path)
    assert list(read.tasks) == ["gsm8k_main"]
    assert read.left_out == ()


def test_predictions_alone_are_refused_with_the_folder_that_has_scores(tmp_path: Path) -> None:
    path = evalscope(tmp_path, samples(3))
    path.unlink()
    for source in (tmp_path, tmp_path / "predictions" / "m" / path.name):
        text = message(source)
        assert "predictions of evalscope, which have no scores" in text
        assert "reviews/" in text


def test_reviews_of_older_versions_are_read(tmp_path: Path) -> None:
    base = evalscope(tmp_path / "base", samples(30), old=True)
    worse = evalscope(tmp_path / "worse", samples(30, right=15), old=True)
    (task,) = read_foreign(base).tasks.values()
    assert task.metric == "result"
    assert task.table["output"].to_pylist() == [str(number) for number in range(30)]
    assert gate.compare(base, worse).verdict == "FAIL"


def test_results_of_older_versions_with_several_metrics_have_the_defaults_of_other_formats(tmp_path: Path) -> None:
    path = evalscope(tmp_path, samples(3), old=True)
    reviews = read_jsonl(path)
    for review in reviews:
        review["choices"][0]["review"]["result"] = {"prompt_level_strict_acc": 1.0, "prompt_level_loose_acc": 0.0}
    write_jsonl(path, reviews)
    read = read_foreign(path)
    assert read.tasks["gsm8k_main"].metric == "prompt_level_strict_acc"
    assert "also available: prompt_level_loose_acc" in read.notes[0]


def test_the_input_of_version_1_0_is_the_prompt(tmp_path: Path) -> None:
    new = evalscope(tmp_path, samples(3))
    reviews = [{"input": review.pop("messages")[0]["content"], **review} for review in read_jsonl(new)]
    first = write_jsonl(tmp_path / "first.jsonl", reviews)
    assert (
        read_foreign(first).tasks["first"].table["prompt_hash"].to_pylist()
        == read_foreign(new).tasks["gsm8k_main"].table["prompt_hash"].to_pylist()
    )


def test_samples_that_the_judge_failed_to_score_are_refused_or_left_out(tmp_path: Path) -> None:
    path = evalscope(tmp_path, samples(4))
    reviews = read_jsonl(path)
    reviews[1]["sample_score"]["score"] |= {"value": {}, "status": "parse_error"}
    write_jsonl(path, reviews)
    assert "1 of 4 samples ended with an error (the first: status parse_error)" in message(path)
    read = read_foreign(path, allow_partial=True)
    assert read.tasks["gsm8k_main"].table.num_rows == 3
    assert "left out 1 samples" in read.notes[-1]


def test_the_main_score_is_the_default_metric(tmp_path: Path) -> None:
    more = {"f1": 0.25}
    named = read_foreign(evalscope(tmp_path / "named", samples(3), more=more, main="f1"))
    assert named.tasks["gsm8k_main"].metric == "f1"
    assert "also available: acc" in named.notes[0]
    first = read_foreign(evalscope(tmp_path / "first", samples(3), more=more))
    assert first.tasks["gsm8k_main"].metric == "acc"
    path = evalscope(tmp_path / "mixed", samples(3), more=more)
    reviews = read_jsonl(path)
    reviews[0]["sample_score"]["score"]["main_score_name"] = "f1"
    write_jsonl(path, reviews)
    assert "has 2 metrics: acc, f1" in message(path)


def test_generations_of_one_group_are_repeats_of_one_item(tmp_path: Path) -> None:
    path = evalscope(tmp_path, samples(4))
    reviews = read_jsonl(path)
    for review in reviews:
        index = review["index"]
        review["sample_score"] |= {"group_id": index // 2, "generation_index": index % 2}
        review["messages"][0]["content"] = f"question {index // 2}"
    write_jsonl(path, reviews)
    table = read_foreign(path).tasks["gsm8k_main"].table
    assert table["item_id"].to_pylist() == ["0", "0", "1", "1"]
    assert table["repeat"].to_pylist() == [0, 1, 0, 1]


def test_reviews_without_an_index_are_refused(tmp_path: Path) -> None:
    path = evalscope(tmp_path, samples(3))
    reviews = read_jsonl(path)
    reviews[0]["index"] = 0.5
    write_jsonl(path, reviews)
    assert f"{path}:1: expected a number or text as index" in message(path)
