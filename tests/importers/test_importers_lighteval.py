"""Details of lighteval, written as its `EvaluationTracker` writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.importing import message
from support.other_tools import lighteval, samples

import gate
from gate.common import parquet
from gate.importers import read_foreign

LATER = "2026-11-06T09-00-00.000001"


def rewrite(path: Path, change: str, value: object, row: int = 0) -> None:
    """Change one field ("doc.query") of one row of a Parquet file."""
    records = pq.read_table(path).to_pylist()
    column, field = change.split(".")
    records[row][column][field] = value
    pq.write_table(pa.Table.from_pylist(records), path)


def test_task_and_few_shot_examples_are_those_of_the_file_name(tmp_path: Path) -> None:
    read = read_foreign(lighteval(tmp_path, samples(3), task="mmlu:anatomy|5"))
    assert list(read.tasks) == ["mmlu:anatomy|5"]
    assert read.tasks["mmlu:anatomy|5"].facets == {"num_fewshot": "5"}
    assert read.about["model"] == "org/m"


def test_columns_of_older_versions_are_read_and_pair_with_each_other(tmp_path: Path) -> None:
    base = lighteval(tmp_path / "base", samples(30), old=True)
    worse = lighteval(tmp_path / "worse", samples(30, right=15), old=True)
    assert read_foreign(base).tasks["gsm8k|5"].table["target"].to_pylist() == [str(number) for number in range(30)]
    assert gate.compare(base, worse).verdict == "FAIL"


def test_columns_with_underscores_are_read(tmp_path: Path) -> None:
    path = lighteval(tmp_path, samples(4))
    table = pq.read_table(path)
    pq.write_table(table.rename_columns([f"__{name}__" for name in table.column_names]), path)
    assert read_foreign(path).tasks["gsm8k|5"].table["score"].to_pylist() == [1.0] * 4


def test_samples_are_paired_by_document_whatever_their_order(tmp_path: Path) -> None:
    base = lighteval(tmp_path / "base", samples(30, right=20))
    shuffled = lighteval(tmp_path / "cand", samples(30, right=20)[::-1])
    (task,) = gate.compare(base, shuffled).tasks
    assert (task.n, task.regressions, task.improvements) == (30, 0, 0)


def test_equal_documents_are_numbered_in_order_of_their_ids(tmp_path: Path) -> None:
    rows = [*samples(2), replace(samples(1)[0], answer="no idea", score=0.0)]
    path = lighteval(tmp_path, rows)
    table = read_foreign(path).tasks["gsm8k|5"].table
    ids = table["item_id"].to_pylist()
    assert ids[2] == f"{ids[0]}#2"
    assert len(set(ids)) == 3


def test_log_likelihoods_that_are_nan_are_refused(tmp_path: Path) -> None:
    path = lighteval(tmp_path, samples(3))
    rewrite(path, "model_response.logprobs", [-1.0, float("nan")], row=1)
    assert f"{path}, row 2: the log-likelihoods are NaN or infinite" in message(path)


def test_metrics_over_the_corpus_are_no_scores_of_samples(tmp_path: Path) -> None:
    corpus = [replace(row, score={"golds": ["a"], "preds": ["b"]}) for row in samples(3, topic="translations")]
    path = lighteval(tmp_path, corpus, task="wmt|0", metric="bleu")
    assert "task wmt|0" in message(path)
    assert "no score per sample" in message(path)
    lighteval(tmp_path, samples(3), task="gsm8k|5")
    read = read_foreign(tmp_path)
    assert list(read.tasks) == ["gsm8k|5"]
    assert any("wmt|0" in note and "no score per sample" in note for note in read.notes)
    assert any(line.endswith("task wmt|0 has no score per sample.") for line in read.left_out)
    assert "no score per sample" in message(tmp_path, tasks=["wmt|0"])


def test_a_task_that_only_one_side_scores_per_sample_is_an_error(tmp_path: Path) -> None:
    corpus = [replace(row, score={"golds": ["a"]}) for row in samples(3, topic="translations")]
    for side, rows in (("base", samples(3, topic="translations")), ("cand", corpus)):
        lighteval(tmp_path / side, samples(3))
        lighteval(tmp_path / side, rows, task="wmt|0")
    with pytest.raises(gate.GateError, match="wmt"):
        gate.compare(tmp_path / "base", tmp_path / "cand")


def test_the_summary_declares_the_direction(tmp_path: Path) -> None:
    scored = [replace(row, score=3.0 + number) for number, row in enumerate(samples(3))]
    up = lighteval(tmp_path / "up", scored, metric="politeness", higher=True)
    assert read_foreign(up).tasks["gsm8k|5"].metric == "politeness"
    down = lighteval(tmp_path / "down", scored, metric="politeness", higher=False)
    assert "better when lower, as results_" in message(down)
    unknown = lighteval(tmp_path / "unknown", scored, metric="politeness")
    assert "it is unknown whether" in message(unknown)


def test_of_several_runs_of_one_model_the_newest_is_read(tmp_path: Path) -> None:
    lighteval(tmp_path, samples(6, right=0))
    lighteval(tmp_path, samples(6), date=LATER)
    read = read_foreign(tmp_path)
    assert read.tasks["gsm8k|5"].table["score"].to_pylist() == [1.0] * 6
    assert "2 runs in the folder; read the newest" in read.notes[-1]
    assert len(read.left_out) == 1


def test_runs_of_a_task_by_unknown_models_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        path = lighteval(tmp_path / "x", samples(3))
        (tmp_path / name).mkdir()
        path.rename(tmp_path / name / path.name)
    assert "holds gsm8k|5 2 times" in message(tmp_path)


def test_the_default_of_several_metrics_is_named_and_others_can_be_chosen(tmp_path: Path) -> None:
    path = lighteval(tmp_path, samples(3), more={"maj@8": 0.0})
    read = read_foreign(path)
    assert read.tasks["gsm8k|5"].metric == "em"
    assert "also available: maj@8" in read.notes[0]
    assert read_foreign(path, metric="maj@8").tasks["gsm8k|5"].table["score"].to_pylist() == [0.0] * 3
    unknown = lighteval(tmp_path / "x", samples(3), metric="rating", more={"judge": 0.0})
    assert "has 2 metrics: judge, rating" in message(unknown)


def test_the_summary_alone_gives_the_option_that_writes_details(tmp_path: Path) -> None:
    lighteval(tmp_path, samples(3))
    text = message(tmp_path / "results")
    assert "summary of a lighteval run" in text
    assert "--save-details" in text


def test_damaged_and_expanding_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lighteval(tmp_path, samples(30))
    monkeypatch.setattr(parquet, "LIMIT", 1000)
    assert "take more than" in message(path)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:-40])
    assert "Parquet" in message(path)


@pytest.mark.parametrize("kind", ["texts", "lists"])
def test_small_files_that_stand_for_gigabytes_are_refused(kind: str, tmp_path: Path) -> None:
    text = "x" * (1 << 20)
    count = 6000
    value = {"texts": text, "lists": [text] * 5}[kind]
    queries = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([text]))
    if kind == "lists":
        queries = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), queries)
    doc = pa.StructArray.from_arrays([queries], ["query"])
    rows = len(doc)
    table = pa.table({
        "doc": doc,
        "metric": pa.StructArray.from_arrays([pa.array([1.0] * rows)], ["em"]),
        "model_response": pa.StructArray.from_arrays([pa.array(["a"] * rows)], ["input"]),
    })  # fmt: skip
    path = tmp_path / f"details_gsm8k|5_{LATER}.parquet"
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 1 << 20
    assert value
    assert "take more than 4 GiB" in message(path)


def test_the_declared_direction_survives_summaries_of_any_shape(tmp_path: Path) -> None:
    path = lighteval(tmp_path, samples(3), higher=True)
    summary = next((tmp_path / "results").rglob("results_*.json"))
    for content in ({}, {"config_tasks": []}, {"config_tasks": {"gsm8k|5": {"metrics": [{"metric_name": ["em", 3]}]}}}):
        summary.write_text(json.dumps(content))
        assert read_foreign(path).tasks["gsm8k|5"].metric == "em"
