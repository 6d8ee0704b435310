"""Results of OpenCompass, written as its evaluation task writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.importing import message
from support.other_tools import opencompass, samples

import gate
from gate.importers import read_foreign


def test_details_are_read_with_the_prompts_of_the_predictions(tmp_path: Path) -> None:
    path = opencompass(tmp_path, samples(3, right=2))
    read = read_foreign(path)
    rows = read.tasks["gsm8k"].table.to_pylist()
    assert [row["item_id"] for row in rows] == ["gsm8k_0", "gsm8k_1", "gsm8k_2"]
    assert [row["score"] for row in rows] == [1.0, 1.0, 0.0]
    assert rows[0]["prompt"] == "sums: 0 + 0?"
    assert read.about["model"] == "m"


def test_a_run_folder_is_read_without_its_predictions_and_its_summary(tmp_path: Path) -> None:
    opencompass(tmp_path, samples(3))
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary" / "summary.csv").write_text("dataset,version,metric,mode,m\ngsm8k,1,accuracy,gen,100\n")
    read = read_foreign(tmp_path)
    assert list(read.tasks) == ["gsm8k"]
    assert len(read.left_out) == 1
    assert "summary.csv" in read.left_out[0]


def test_results_without_details_are_refused_with_the_option_that_writes_them(tmp_path: Path) -> None:
    path = opencompass(tmp_path, samples(3), details=False)
    for source in (tmp_path, path):
        text = message(source)
        assert "totals of OpenCompass without details per sample" in text
        assert "--dump-eval-details" in text


def test_results_without_details_beside_others_are_named(tmp_path: Path) -> None:
    opencompass(tmp_path, samples(3), details=False, task="humaneval")
    opencompass(tmp_path, samples(3))
    read = read_foreign(tmp_path)
    assert list(read.tasks) == ["gsm8k"]
    assert read.left_out == ("results/m/humaneval.json: holds totals of OpenCompass without details per sample.",)


def test_predictions_alone_are_refused(tmp_path: Path) -> None:
    path = opencompass(tmp_path, samples(3))
    path.unlink()
    assert "predictions of OpenCompass, which have no scores" in message(tmp_path)


def test_details_of_older_versions_are_read(tmp_path: Path) -> None:
    base = opencompass(tmp_path / "base", samples(30), old=True)
    worse = opencompass(tmp_path / "worse", samples(30, right=15), old=True)
    table = read_foreign(base).tasks["gsm8k"].table
    assert table["output"].to_pylist()[:2] == ["0", "1"]
    assert gate.compare(base, worse).verdict == "FAIL"


def test_several_answers_to_an_item_are_repeats(tmp_path: Path) -> None:
    table = read_foreign(opencompass(tmp_path, samples(2, right=1), answers=3)).tasks["gsm8k"].table
    assert table["item_id"].to_pylist() == ["gsm8k_0"] * 3 + ["gsm8k_1"] * 3
    assert table["repeat"].to_pylist() == [0, 1, 2] * 2
    assert table["output"].to_pylist() == ["0"] * 3 + ["no idea"] * 3


def test_verdicts_have_several_names(tmp_path: Path) -> None:
    for name in ("is_correct", "cascade_correct", "score"):
        read = read_foreign(opencompass(tmp_path / name, samples(3), metric=name, more={"res_length": 7}))
        assert read.tasks["gsm8k"].metric == name
    read = read_foreign(opencompass(tmp_path / "x", samples(3), more={"rouge": 0.5}))
    assert read.tasks["gsm8k"].metric == "correct"
    assert "also available: rouge" in read.notes[0]


@pytest.mark.parametrize("old", [False, True])
def test_details_without_verdicts_are_scored_by_equality_only_if_the_accuracy_confirms_it(
    old: bool, tmp_path: Path
) -> None:
    path = opencompass(tmp_path, samples(3, right=2), old=old)
    content = json.loads(path.read_text())
    details = content["details"]
    for detail in details if isinstance(details, list) else [details[str(number)] for number in range(3)]:
        del detail["correct"]
    path.write_text(json.dumps(content))
    (task,) = read_foreign(path).tasks.values()
    assert task.metric == "accuracy"
    assert task.table["correct"].to_pylist() == [True, True, False]
    path.write_text(json.dumps(content | {"accuracy": 100.0}))
    assert "no score per sample" in message(path)


def test_verdicts_in_lists_of_older_versions_are_read(tmp_path: Path) -> None:
    path = opencompass(tmp_path, samples(3, right=2), old=True)
    content = json.loads(path.read_text())
    for number in range(3):
        content["details"][str(number)]["correct"] = [number < 2]
    path.write_text(json.dumps(content))
    assert read_foreign(path).tasks["gsm8k"].table["correct"].to_pylist() == [True, True, False]
