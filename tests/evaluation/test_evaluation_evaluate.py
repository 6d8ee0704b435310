"""Evaluations with a tiny real model: what is stored, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import evaluations
from support.evaluations import Opened, choice_task, opened, text_task

import gate.evaluation.plan
from gate.common.canonical import text_digest
from gate.errors import EvaluationError
from gate.store import SampleSet, open_set
from gate.tasks import Task


@pytest.fixture(scope="module")
def broken(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The tiny model with NaN in one of its weights."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models") / "broken"
    shutil.copytree(tiny_model, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return opened(folder)


def evaluate(task: Task, model: Opened, folder: Path) -> tuple[SampleSet, list[int]]:
    steps: list[int] = []
    return evaluations.evaluate(task, model, folder, steps.append), steps


def test_multiple_choice_rows_hold_the_answer_and_its_evidence(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    sample_set, steps = evaluate(task, tiny, tmp_path / "set")
    assert sum(steps) == 24
    rows = sample_set.read().table.to_pylist()
    assert [row["item_id"] for row in rows] == [item.item_id for item in task.items]
    for row, item in zip(rows, task.items, strict=True):
        logprobs = row["choice_logprobs"]
        assert len(logprobs) == 3
        assert max(logprobs) < 0
        assert row["output"] == str(logprobs.index(max(logprobs)))
        assert row["target"] == str(item.target_index)
        assert row["correct"] == (row["output"] == row["target"])
        assert row["score"] == float(row["correct"])
        assert row["prompt_hash"] == text_digest(item.context)
        assert row["prompt"] == item.prompt
        assert row["choices"] == list(item.choices)
        assert (row["task"], row["metric"], row["repeat"], row["cluster"]) == ("animals", "acc", 0, None)
        assert row["tokens_in"] > 0
        assert row["tokens_out"] > 0
    assert 0 < sum(row["correct"] for row in rows) < 24


def test_generated_answers_are_stored_as_text(tmp_path: Path, tiny: Opened) -> None:
    sample_set, steps = evaluate(text_task(tmp_path), tiny, tmp_path / "set")
    assert sum(steps) == 24
    rows = sample_set.read().table.to_pylist()
    assert {type(row["output"]) for row in rows} == {str}
    assert len({row["output"] for row in rows}) > 1
    assert {row["choices"] for row in rows} == {None}
    assert {row["choice_logprobs"] for row in rows} == {None}
    assert {row["cluster"] for row in rows} == {"0", "1", "2"}
    assert rows[0]["target"] == "cat | cat"
    assert all(1 <= row["tokens_out"] <= 4 for row in rows)
    for row in rows:
        assert row["correct"] == (row["output"].strip().lower() in row["target"].split(" | "))


def test_the_manifest_records_task_model_and_timings(tmp_path: Path, tiny: Opened, tiny_model: Path) -> None:
    task = choice_task(tmp_path)
    sample_set, _ = evaluate(task, tiny, tmp_path / "set")
    manifest = open_set(tmp_path / "set").manifest
    assert manifest == sample_set.manifest
    assert (manifest.task, manifest.metric, manifest.items, manifest.rows) == ("animals", "acc", 24, 24)
    assert manifest.task_fingerprint == task.fingerprint
    assert manifest.facets == dict(task.facets)
    model, identity = manifest.model, tiny[1]
    assert model.name == str(tiny_model)
    assert model.fingerprint == identity.fingerprint
    assert (model.device, model.loaded_dtype) == ("cpu", "float32")
    assert {"torch", "transformers", "numpy"} <= set(model.versions)
    rows = sample_set.read().table.to_pylist()
    assert manifest.timings.tokens_in == sum(row["tokens_in"] for row in rows)
    assert manifest.timings.tokens_out == sum(row["tokens_out"] for row in rows)
    assert manifest.timings.items_per_second == pytest.approx(24 / manifest.timings.seconds)


def test_the_same_evaluation_gives_the_same_bytes(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    first, _ = evaluate(task, tiny, tmp_path / "first")
    second, _ = evaluate(task, tiny, tmp_path / "second")
    assert first.manifest.data_files == second.manifest.data_files
    data_file = first.manifest.data_files[0].file
    assert (tmp_path / "first" / data_file).read_bytes() == (tmp_path / "second" / data_file).read_bytes()


def test_a_long_task_is_split_into_several_data_files(
    tmp_path: Path, tiny: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = choice_task(tmp_path)
    whole, _ = evaluate(task, tiny, tmp_path / "whole")
    monkeypatch.setattr(gate.evaluation.plan, "ITEMS_PER_DATA_FILE", 10)
    split, steps = evaluate(task, tiny, tmp_path / "split")
    assert [data_file.rows for data_file in split.manifest.data_files] == [10, 10, 4]
    assert sum(steps) == 24
    one, other = whole.read().table, split.read().table
    # other batches sum float32 in another order; float16 values of -8 to -16 are 2^-7 apart
    measured = {"choice_logprobs": 1e-3, "later_drawn_logprobs": 2**-7}
    assert one.drop(list(measured)).equals(other.drop(list(measured)))
    for name, tolerance in measured.items():
        for a, b in zip(one[name].to_pylist(), other[name].to_pylist(), strict=True):
            assert a == (b if b is None else pytest.approx(b, abs=tolerance))


def test_nan_loglikelihoods_name_task_and_item_and_keep_the_older_set(
    tmp_path: Path, tiny: Opened, broken: Opened
) -> None:
    task = choice_task(tmp_path)
    evaluate(task, tiny, tmp_path / "sets" / "animals")
    with pytest.raises(EvaluationError) as caught:
        evaluate(task, broken, tmp_path / "sets" / "animals")
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert "task animals" in message
    assert task.items[0].item_id[:12] in message
    assert "nan" in message
    assert {entry.name for entry in (tmp_path / "sets").iterdir()} == {"animals", ".animals.lock"}
    assert open_set(tmp_path / "sets" / "animals").read().table.num_rows == 24


def test_the_prompt_hash_of_a_chat_task_is_that_of_the_rendered_chat(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path, chat_template=True, system="Be short.")
    sample_set, _ = evaluate(task, tiny, tmp_path / "set")
    rendered = tiny[0].render_chat(task.items[0].messages)
    assert "Be short." in rendered
    assert sample_set.read().table["prompt_hash"][0].as_py() == text_digest(rendered)
