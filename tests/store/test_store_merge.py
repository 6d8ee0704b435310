"""Shards evaluated by several machines are merged into the whole set, or refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.evaluations import (
    Opened,
    OtherRuntime,
    choice_task,
    choice_task_of,
    content,
    evaluate,
    opened,
    text_task,
)
from support.exhaustive import mostly_exhaustive
from support.tiny import write_tiny_task

import gate.evaluation.plan
from gate.engines import Engine
from gate.errors import EvaluationError, SampleError
from gate.evaluation.recording import Recording
from gate.samples import pair
from gate.store import SampleSet, Store, open_set, read_sets
from gate.store.lock import one_writer
from gate.store.merge import merge, read_shards
from gate.tasks import Task


class OneByOne:
    """The same engine with one request per call, so that answers do not depend on the batch."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def loglikelihood(self, requests: Any, progress: Any) -> list[Any]:
        return [self._engine.loglikelihood([request], progress)[0] for request in requests]

    def generate_until(self, requests: Any, progress: Any) -> list[Any]:
        return [self._engine.generate_until([request], progress)[0] for request in requests]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Opened:
    engine, identity = opened(tiny_model)
    alone: Any = OneByOne(engine)
    return alone, identity


@pytest.fixture(autouse=True)
def small_data_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.evaluation.plan, "ITEMS_PER_DATA_FILE", 10)


def shards(task: Task, model: Opened, folder: Path, of: int, **options: Any) -> list[Path]:
    """Evaluate all shards of a task and return their folders, in order."""
    made = []
    for index in range(1, of + 1):
        evaluate(task, model, folder / f"shard{index}" / task.name, shard=(index, of), **options)
        made.append(folder / f"shard{index}")
    return made


def merged(folders: list[Path], out: Path) -> SampleSet:
    ((task, sets),) = read_shards(folders).items()
    return merge(sets, out / task)


def refused(folders: list[Path]) -> str:
    with pytest.raises(SampleError) as caught:
        read_shards(folders)
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("of", mostly_exhaustive([1, 2, 3, 5, 24], [2, 5]))
@pytest.mark.parametrize("make", [choice_task, text_task], ids=["choices", "texts"])
def test_merged_shards_equal_the_set_of_one_machine_byte_for_byte(
    tmp_path: Path, tiny: Opened, of: int, make: Any
) -> None:
    task = make(tmp_path)
    evaluate(task, tiny, tmp_path / "whole")
    folders = shards(task, tiny, tmp_path, of)
    done = merged(folders[::-1], tmp_path / "out")
    assert content(done.folder) == content(tmp_path / "whole")
    assert [row["item_id"] for row in done.read().table.to_pylist()] == [item.item_id for item in task.items]
    assert open_set(done.folder).manifest.shard is None


def test_shards_are_even_and_hold_each_item_once(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    sets = [open_set(folder / "animals") for folder in shards(task, tiny, tmp_path, 5)]
    assert [one.manifest.items for one in sets] == [5, 5, 5, 5, 4]
    ids = [row for one in sets for row in one.read().table["item_id"].to_pylist()]
    assert sorted(ids) == sorted(item.item_id for item in task.items)


def test_empty_shards_are_merged(tmp_path: Path, tiny: Opened) -> None:
    write_tiny_task(tmp_path / "items.jsonl", 3)
    task = choice_task_of(tmp_path)
    evaluate(task, tiny, tmp_path / "whole")
    done = merged(shards(task, tiny, tmp_path, 5), tmp_path / "out")
    assert content(done.folder) == content(tmp_path / "whole")


def test_divergences_are_merged_as_measured(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    base = evaluate(task, tiny, tmp_path / "base")
    evaluate(task, tiny, tmp_path / "whole", baseline=base)
    done = merged(shards(task, tiny, tmp_path, 3, baseline=base), tmp_path / "out")
    assert content(done.folder) == content(tmp_path / "whole")
    assert done.manifest.reference == base.manifest.model.fingerprint


def test_seconds_and_tokens_are_summed_and_every_machine_is_named(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    other: Any = OtherRuntime(tiny[0], hardware="another CPU")
    first = evaluate(task, tiny, tmp_path / "a" / "animals", shard=(1, 2)).manifest
    second = evaluate(task, (other, tiny[1]), tmp_path / "b" / "animals", shard=(2, 2)).manifest
    manifest = merged([tmp_path / "a", tmp_path / "b"], tmp_path / "out").manifest
    assert manifest.timings.seconds == pytest.approx(first.timings.seconds + second.timings.seconds)
    assert manifest.timings.tokens_in == first.timings.tokens_in + second.timings.tokens_in
    assert manifest.model.hardware == f"{first.model.hardware}, another CPU"


def test_a_single_shard_is_refused_by_readers_and_by_the_store(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    folder, *_ = shards(task, tiny, tmp_path, 4)
    message = r"shard1/animals is shard 1 of 4 of task animals, not the whole set\.\n  -> .*gate merge"
    with pytest.raises(SampleError, match=message):
        read_sets(folder)
    with pytest.raises(SampleError, match=message):
        Store(tmp_path / "store").find(folder / "animals", tiny[1].fingerprint, task.fingerprint)


def test_a_merged_set_can_be_paired(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    evaluate(task, tiny, tmp_path / "whole")
    merged(shards(task, tiny, tmp_path, 3), tmp_path / "out")
    a, b = read_sets(tmp_path / "whole"), read_sets(tmp_path / "out")
    assert a is not None
    assert b is not None
    assert (pair(a, b).tasks[0].n, pair(a, b).tasks[0].changed_answers) == (24, 0)


def test_missing_shards_are_named(tmp_path: Path, tiny: Opened) -> None:
    folders = shards(choice_task(tmp_path), tiny, tmp_path, 4)
    message = refused([folders[0], folders[2]])
    assert "task animals: 2 of 4 shards are missing: 2, 4" in message
    assert "--shard 2/4" in message
    assert "and so on" not in refused(folders[:3])


def test_a_shard_given_twice_is_refused(tmp_path: Path, tiny: Opened) -> None:
    folders = shards(choice_task(tmp_path), tiny, tmp_path, 2)
    shutil.copytree(folders[0], tmp_path / "again")
    message = refused([*folders, tmp_path / "again"])
    assert "shard 1 of 2 is given twice" in message
    assert str(tmp_path / "again" / "animals") in message


def test_shards_of_different_splits_are_refused(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    evaluate(task, tiny, tmp_path / "a" / "animals", shard=(1, 2))
    evaluate(task, tiny, tmp_path / "b" / "animals", shard=(2, 3))
    assert "number of shards: 2 and 3" in refused([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"device": "cuda:0"}, "device: cpu and cuda"),
        ({"dtype": "bfloat16"}, "dtype: float32 and bfloat16"),
        ({"tokenizer": "e" * 64}, "tokenizer: "),
        ({"end_tokens": (1, 2)}, "end tokens: [1] and [1, 2]"),
        ({"versions": {"torch": "99"}}, "torch 99"),
    ],
)
def test_shards_evaluated_differently_are_refused(
    tmp_path: Path, tiny: Opened, changes: dict[str, Any], named: str
) -> None:
    task = choice_task(tmp_path)
    other: Any = OtherRuntime(tiny[0], **dict(changes))
    evaluate(task, tiny, tmp_path / "a" / "animals", shard=(1, 2))
    evaluate(task, (other, tiny[1]), tmp_path / "b" / "animals", shard=(2, 2))
    message = refused([tmp_path / "a", tmp_path / "b"])
    assert named in message
    assert str(tmp_path / "b" / "animals") in message


def test_shards_that_store_other_samples_of_texts_are_refused(tmp_path: Path, tiny: Opened) -> None:
    task = text_task(tmp_path)
    for index, texts in ((1, 5), (2, 20)):
        evaluate(task, tiny, tmp_path / str(index) / "say", shard=(index, 2), recording=Recording(texts=texts))
    assert "stored distributions: (64, 16, 16, 5) and (64, 16, 16, 20)" in refused([tmp_path / "1", tmp_path / "2"])


def test_shards_of_other_models_tasks_or_baselines_are_refused(
    tmp_path: Path, tiny: Opened, other_tiny_model: Path
) -> None:
    task = choice_task(tmp_path)
    base = evaluate(task, tiny, tmp_path / "base")
    evaluate(task, tiny, tmp_path / "a" / "animals", shard=(1, 2))
    others = {
        "model: ": (task, opened(other_tiny_model), {}),
        "task: ": (choice_task(tmp_path, metric="acc_norm"), tiny, {}),
        "KL divergence measured from: None and ": (task, tiny, {"baseline": base}),
    }
    for number, (named, (asked, model, options)) in enumerate(others.items()):
        folder = tmp_path / f"b{number}"
        evaluate(asked, model, folder / "animals", shard=(2, 2), **options)
        assert named in refused([tmp_path / "a", folder])


def test_whole_sets_and_folders_without_sets_are_refused(tmp_path: Path, tiny: Opened) -> None:
    evaluate(choice_task(tmp_path), tiny, tmp_path / "whole" / "animals")
    assert "is the whole set of task animals; there is nothing to merge" in refused([tmp_path / "whole"])
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'} holds no sample sets" in refused([tmp_path / "empty"])
    assert "holds no sample sets" in refused([tmp_path / "absent"])


def relabel(folder: Path, **changes: int) -> None:
    """Change the shard record in a manifest."""
    path = folder / "animals" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["part"] |= changes
    path.write_text(json.dumps(manifest))


def test_a_mislabelled_shard_is_refused(tmp_path: Path, tiny: Opened) -> None:
    first, second = shards(choice_task(tmp_path), tiny, tmp_path, 2)
    shutil.rmtree(second)
    shutil.copytree(first, second)
    relabel(second, index=2)  # right counts, but the items of shard 1 again
    with pytest.raises(SampleError, match="several shards hold the same item"):
        merged([first, second], tmp_path / "out")
    for folder in (first, second):
        relabel(folder, items=30)
    with pytest.raises(
        SampleError,
        match="shard 1 of 2 of a task of 30 items must hold 15 items; its data files hold 12, and its manifest says",
    ):
        merged([first, second], tmp_path / "out")
    assert not (tmp_path / "out" / "animals").exists()


def test_an_altered_shard_is_refused(tmp_path: Path, tiny: Opened) -> None:
    first, second = shards(choice_task(tmp_path), tiny, tmp_path, 2)
    data_file = second / "animals" / "shard-00001.parquet"
    data_file.write_bytes(data_file.read_bytes()[:-1] + b"!")
    with pytest.raises(SampleError, match="altered or truncated"):
        merged([first, second], tmp_path / "out")


def test_merging_into_a_locked_or_foreign_folder_is_refused(tmp_path: Path, tiny: Opened) -> None:
    folders = shards(choice_task(tmp_path), tiny, tmp_path, 2)
    with (
        one_writer(tmp_path / "out" / "animals"),
        pytest.raises(EvaluationError, match=f"is being written by process {os.getpid()}"),
    ):
        merged(folders, tmp_path / "out")
    (tmp_path / "out" / "animals").mkdir(parents=True)
    (tmp_path / "out" / "animals" / "thesis.tex").write_text("mine")
    with pytest.raises(SampleError, match="is not a sample set"):
        merged(folders, tmp_path / "out")


def test_an_interrupted_shard_resumes(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    whole = merged(shards(task, tiny, tmp_path, 2), tmp_path / "out")

    def stop(count: int, answered: list[int] = []) -> None:  # noqa: B006 - counts over the calls
        answered.append(count)
        if sum(answered) > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(task, tiny, tmp_path / "again" / "animals", stop, shard=(2, 2))
    steps: list[int] = []
    evaluate(task, tiny, tmp_path / "again" / "animals", steps.append, shard=(2, 2))
    assert steps[0] == 10
    again = merged([tmp_path / "shard1", tmp_path / "again"], tmp_path / "other")
    assert content(again.folder) == content(whole.folder)


def test_the_stack_of_shards_from_two_machines_names_both(tmp_path: Path, tiny: Opened) -> None:
    task, (engine, identity) = choice_task(tmp_path), tiny
    evaluate(task, tiny, tmp_path / "first")  # after its first answers, the runtime names the scoring method
    for index, name in ((1, "Xeon"), (2, "EPYC")):
        stack = {**engine.runtime.stack, "hardware": name} | ({"only": "here"} if index == 1 else {})
        machine: Any = OtherRuntime(engine, stack=stack)
        evaluate(task, (machine, identity), tmp_path / f"shard-{index}", shard=(index, 2))
    ((_, shards),) = read_shards([tmp_path / "shard-1", tmp_path / "shard-2"]).items()
    stack = merge(shards, tmp_path / "whole", lambda _: None).manifest.model.stack
    assert stack["hardware"] == "Xeon, EPYC"
    assert stack["dtype"] == "float32"
    assert "only" not in stack
