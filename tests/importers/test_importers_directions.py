"""Metrics of which lower values are better, in every format."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.importing import message

from gate.common.directions import known_direction, looks_like_an_error
from gate.errors import ConfigError
from gate.importers import read_foreign

LOWER = ["perplexity", "Word-Perplexity", "WER", "editDistance", "brier_score", "latency_ms", "mean_loss", "rmse"]
HIGHER = ["acc", "exact_match", "pass@1", "maj@64", "rougeL", "F1", "prompt_level_strict_acc", "mc2", "-wer", "reward"]


def write(path: Path, metric: str | None, scores: list[float], task: str = "t") -> Path:
    """Write a table with a column `metric`, or without it."""
    rows = [
        {"task": task, "item_id": str(item), "output": "x", "target": "x", "score": score}
        | ({} if metric is None else {"metric": metric})
        for item, score in enumerate(scores)
    ]
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", LOWER)
def test_names_of_errors_are_known(name: str) -> None:
    assert known_direction(name) == "lower"


@pytest.mark.parametrize("name", HIGHER)
def test_names_of_accuracies_are_known(name: str) -> None:
    assert known_direction(name) == "higher"


@pytest.mark.parametrize("name", ["my_loss", "pct_stereotype", "hallucination_rate", "toxicity", "wikitext_ppl"])
def test_names_like_those_of_errors_are_unknown_and_suspicious(name: str) -> None:
    assert known_direction(name) is None
    assert looks_like_an_error(name)


@given(st.text(max_size=30))
def test_any_name_has_a_direction_or_none_and_case_does_not_matter(name: str) -> None:
    assert known_direction(name) in ("higher", "lower", None)
    if name.isascii() and name == name.lower():
        assert known_direction(name.upper()) == known_direction(name)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("metric", ["perplexity", "WER"])
def test_the_sign_of_a_known_error_is_changed_and_the_name_and_a_note_say_so(
    tmp_path: Path, ending: str, metric: str
) -> None:
    samples = read_foreign(write(tmp_path / f"m{ending}", metric, [10.0, 15.0, 0.0]))
    assert samples.tasks["t"].metric == f"-{metric}"
    assert [str(score) for score in samples.tasks["t"].table["score"].to_pylist()] == ["-10.0", "-15.0", "0.0"]
    assert f"t: lower values of {metric} are better, so its sign is changed: -{metric}." in samples.notes


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_an_unknown_metric_outside_0_to_1_is_refused_until_its_direction_is_declared(
    tmp_path: Path, ending: str
) -> None:
    path = write(tmp_path / f"m{ending}", "rating", [10.0, 4.0])
    text = message(path)
    assert "unknown whether higher or lower values of the metric rating are better" in text
    assert "--lower-is-better rating" in text
    assert "--higher-is-better rating" in text
    assert read_foreign(path, lower_is_better=["rating"]).tasks["t"].table["score"].to_pylist() == [-10.0, -4.0]
    assert read_foreign(path, higher_is_better=["rating"]).tasks["t"].table["score"].to_pylist() == [10.0, 4.0]
    assert read_foreign(path, lower_is_better=["t"]).tasks["t"].metric == "-rating"


def test_an_unknown_metric_within_0_to_1_counts_as_higher_is_better_unless_its_name_is_suspicious(
    tmp_path: Path,
) -> None:
    assert read_foreign(write(tmp_path / "a.csv", "politeness", [0.5, 1.0])).tasks["t"].metric == "politeness"
    assert "looks like that of an error or a loss" in message(write(tmp_path / "b.csv", "toxicity", [0.5, 1.0]))


def test_a_score_of_a_task_named_after_an_error_is_refused_outside_0_to_1(tmp_path: Path) -> None:
    text = message(write(tmp_path / "a.csv", None, [10.5, 12.0], task="wikitext_ppl"))
    assert "the task's name, wikitext_ppl, looks like that of an error" in text
    assert read_foreign(write(tmp_path / "b.csv", None, [0.0, 1.0], task="error_correction")).tasks
    assert read_foreign(write(tmp_path / "c.csv", None, [7.0, 8.5], task="chat")).tasks["chat"].metric == "score"


def test_a_declared_direction_must_be_that_of_a_metric_and_not_both(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "perplexity", [10.0])
    with pytest.raises(ConfigError, match="has the name perplexty; there are: perplexity, t"):
        read_foreign(path, lower_is_better=["perplexty"])
    with pytest.raises(ConfigError, match="declared as both"):
        read_foreign(path, lower_is_better=["perplexity"], higher_is_better=["perplexity"])
    assert read_foreign(path, higher_is_better=["perplexity"]).tasks["t"].metric == "perplexity"


def test_the_sign_is_changed_once_if_the_name_says_that_it_was_changed_before(tmp_path: Path) -> None:
    assert read_foreign(write(tmp_path / "a.csv", "-perplexity", [-10.0])).tasks["t"].metric == "-perplexity"
    assert read_foreign(write(tmp_path / "b.csv", "neg_rmse", [-10.0])).tasks["t"].metric == "neg_rmse"


def test_nemo_scorers_have_directions_too(tmp_path: Path) -> None:
    rows = [{"problem_idx": i, "reward": 0.5, "scorer_rewards": {"wer": 12.0 + i}} for i in range(2)]
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = read_foreign(path, metric="wer").tasks["results"]
    assert (task.metric, task.table["score"].to_pylist()) == ("-wer", [-12.0, -13.0])
    assert read_foreign(path).tasks["results"].metric == "reward"
