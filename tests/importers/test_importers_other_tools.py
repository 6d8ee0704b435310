"""Results of lighteval, HELM, evalscope, OpenCompass, promptfoo and DeepEval: what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.importing import message
from support.other_tools import WRITERS, Sample, samples

import gate
from gate.importers import read_foreign

Writer = Callable[..., Path]
every_tool = pytest.mark.parametrize(("tool", "write"), WRITERS.items(), ids=WRITERS)


@every_tool
def test_a_file_and_its_folder_give_the_same_samples(tool: str, write: Writer, tmp_path: Path) -> None:
    rows = samples(12, right=9)
    path = write(tmp_path, rows)
    for source in (path, path.parent, tmp_path):
        read = read_foreign(source)
        assert read.about["format"] == tool
        (task,) = read.tasks.values()
        table = task.table.to_pylist()
        assert sorted((row["output"], row["target"], row["score"]) for row in table) == sorted(
            _expected(tool, row) for row in rows
        )
        assert len({row["item_id"] for row in table}) == 12
        assert all(row["prompt_hash"] for row in table)
        assert {row["repeat"] for row in table} == {0}
        assert [row["correct"] for row in table].count(True) == 9


def _expected(tool: str, row: Sample) -> tuple[str, str, float]:
    target = f'[["equals","{row.target}"]]' if tool == "promptfoo" else row.target
    return row.answer, target, row.score


@every_tool
def test_a_worse_candidate_fails_and_the_same_answers_pass(tool: str, write: Writer, tmp_path: Path) -> None:
    base = write(tmp_path / "base", samples(40))
    same = write(tmp_path / "same", samples(40))
    worse = write(tmp_path / "worse", samples(40, right=25))
    assert gate.compare(base, same).verdict == "PASS"
    result = gate.compare(base, worse)
    assert result.verdict == "FAIL"
    (task,) = result.tasks
    assert (task.n, task.regressions, task.improvements) == (40, 15, 0)


@every_tool
def test_missing_nan_and_invalid_scores_are_refused(tool: str, write: Writer, tmp_path: Path) -> None:
    options = {"metric": "rubric"} if tool == "promptfoo" else {}  # its default, success, is true or false
    for value in (None, float("nan")):
        rows = samples(12)
        rows[3] = replace(rows[3], score=value)
        path = write(tmp_path / str(value), rows, **options)
        assert "1 of 12 samples have no score" in message(path, **options)
    rows = samples(12)
    rows[3] = replace(rows[3], score=float("inf"))
    text = message(write(tmp_path / "inf", rows, **options), **options)
    assert "expected a finite number" in text


@every_tool
def test_two_models_in_one_folder_are_refused(tool: str, write: Writer, tmp_path: Path) -> None:
    write(tmp_path, samples(12), model="org-a", task="one|0" if tool == "lighteval" else "one")
    write(tmp_path, samples(12, right=2), model="org-b", task="two|0" if tool == "lighteval" else "two")
    assert "holds the samples of 2 models: org-a, org-b" in message(tmp_path)


@every_tool
def test_two_models_under_the_names_of_two_tasks_are_refused(tool: str, write: Writer, tmp_path: Path) -> None:
    write(tmp_path, samples(12), task="one")
    write(tmp_path, samples(12, right=2), task="two")
    assert "two sets of answers to the same prompts: one and two" in message(tmp_path)


@every_tool
def test_only_the_tasks_that_were_asked_for_are_read(tool: str, write: Writer, tmp_path: Path) -> None:
    write(tmp_path, samples(12), task="one")
    broken = write(tmp_path, [replace(row, score=None) for row in samples(12, topic="names")], task="two")
    read = read_foreign(tmp_path, tasks=["one"])
    assert list(read.tasks) == ["one"]
    assert read.unread == ("two",)
    assert read.left_out == (f"{broken.name}: not a task that was asked for.",)


@every_tool
def test_metrics_of_unknown_direction_must_be_declared(tool: str, write: Writer, tmp_path: Path) -> None:
    rows = [replace(row, score=2.0 + number) for number, row in enumerate(samples(12))]
    options = {"metric": "toxicity"} | ({"threshold": 100.0, "below": True} if tool == "DeepEval" else {})
    path = write(tmp_path, rows, **options)
    text = message(path, metric="toxicity")
    assert "--lower-is-better toxicity" in text
    (task,) = read_foreign(path, metric="toxicity", lower_is_better=["toxicity"]).tasks.values()
    assert task.metric == "-toxicity"
    assert sorted(task.table["score"].to_pylist()) == sorted(-row.score for row in rows)


@every_tool
def test_other_prompts_on_the_other_side_are_refused(tool: str, write: Writer, tmp_path: Path) -> None:
    base = write(tmp_path / "base", samples(12))
    other = write(tmp_path / "other", samples(12, topic="products"))
    with pytest.raises(gate.GateError):
        gate.compare(base, other)


@every_tool
def test_a_missing_sample_is_refused_unless_partial_comparisons_are_allowed(
    tool: str, write: Writer, tmp_path: Path
) -> None:
    base = write(tmp_path / "base", samples(12))
    short = write(tmp_path / "short", samples(11))
    with pytest.raises(gate.GateError, match="1"):
        gate.compare(base, short)
    assert gate.compare(base, short, allow_partial=True).tasks[0].n == 11


@every_tool
def test_a_metric_that_no_task_has_is_an_error(tool: str, write: Writer, tmp_path: Path) -> None:
    assert "No task has the metric 'bleurt'" in message(write(tmp_path, samples(12)), metric="bleurt")
