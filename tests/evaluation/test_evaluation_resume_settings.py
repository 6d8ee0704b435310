"""An interrupted evaluation is resumed only under the same settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.evaluations import Attempt, Opened, OtherRuntime, choice_task, names, opened

from gate.engines import Engine, Runtime
from gate.evaluation import plan

pytestmark = pytest.mark.usefixtures("small_data_files")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"device": "cuda:0"}, "device cpu -> cuda"),
        ({"hardware": "H200"}, "-> H200"),
        ({"dtype": "bfloat16"}, "dtype float32 -> bfloat16"),
        ({"tokenizer": "e" * 64}, "tokenizer"),
        ({"end_tokens": (1, 2)}, "end_tokens [1] -> [1,2]"),
        ({"versions": {"torch": "99"}}, "-> 99)"),
    ],
)
def test_work_of_another_machine_or_library_is_not_mixed_in(
    tmp_path: Path, tiny: Opened, changes: dict[str, Any], named: str
) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "set", 13)
    other: Any = OtherRuntime(tiny[0], **dict(changes))
    second = Attempt(task, (other, tiny[1]), tmp_path / "set", 5)
    assert second.resumed == 0
    (line,) = (line for line in second.messages if "other settings" in line)
    assert named in line
    assert "12 items" in line
    back = Attempt(task, tiny, tmp_path / "set")  # a mistaken run on another machine has lost nothing
    assert back.resumed == 12
    assert names(tmp_path) == {"items.jsonl", "set"}


def test_the_index_of_the_gpu_does_not_matter(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    one: Any = OtherRuntime(tiny[0], device="cuda:0")
    other: Any = OtherRuntime(tiny[0], device="cuda:3")
    Attempt(task, (one, tiny[1]), tmp_path / "set", 13)
    assert Attempt(task, (other, tiny[1]), tmp_path / "set").resumed == 12


def test_work_with_another_model_task_shard_or_baseline_is_not_resumed(
    tmp_path: Path, tiny: Opened, other_tiny_model: Path
) -> None:
    task = choice_task(tmp_path)
    reordered = dataclasses.replace(task, items=task.items[::-1])
    base = Attempt(task, tiny, tmp_path / "base").sample_set
    assert base is not None
    Attempt(task, tiny, tmp_path / "set", 13)
    for again in (
        Attempt(task, opened(other_tiny_model), tmp_path / "set", 0),
        Attempt(choice_task(tmp_path, metric="acc_norm"), tiny, tmp_path / "set", 0),
        Attempt(reordered, tiny, tmp_path / "set", 0),
        Attempt(task, tiny, tmp_path / "set", 0, shard=(1, 2)),
        Attempt(task, tiny, tmp_path / "set", 0, baseline=base),
    ):
        assert again.resumed == 0
    assert Attempt(task, tiny, tmp_path / "set", 13).resumed == 12


def test_another_data_file_size_is_another_setting(
    tmp_path: Path, tiny: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = choice_task(tmp_path)
    Attempt(task, tiny, tmp_path / "set", 13)
    monkeypatch.setattr(plan, "ITEMS_PER_DATA_FILE", 6)
    assert Attempt(task, tiny, tmp_path / "set").resumed == 0


class Method:
    """The same engine; its scoring method is known after its first scores."""

    def __init__(self, engine: Engine, method: str) -> None:
        self._engine, self._method, self._asked = engine, method, False

    @property
    def runtime(self) -> Runtime:
        versions = dict(self._engine.runtime.versions)
        versions.pop("scoring", None)
        return dataclasses.replace(
            self._engine.runtime, versions=versions | ({"scoring": self._method} if self._asked else {})
        )

    def loglikelihood(self, *asked: Any) -> Any:
        self._asked = True
        return self._engine.loglikelihood(*asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def test_data_files_scored_with_another_method_are_evaluated_again(tmp_path: Path, tiny: Opened) -> None:
    task = choice_task(tmp_path)
    a: Any = Method(tiny[0], "trees")
    Attempt(task, (a, tiny[1]), tmp_path / "set", 13)
    same: Any = Method(tiny[0], "trees")
    Attempt(task, (same, tiny[1]), tmp_path / "set", 17)
    other: Any = Method(tiny[0], "plain")
    last = Attempt(task, (other, tiny[1]), tmp_path / "set")
    assert last.resumed == 16
    assert "set: 4 data file(s) are evaluated again: scored with trees, now with plain" in last.messages
    assert last.sample_set is not None
    assert last.sample_set.manifest.model.versions["scoring"] == "plain"
    assert sum(last.steps) == 24 + 16
    assert last.item_ids == last.sample_set.read().table["item_id"].to_pylist() == [item.item_id for item in task.items]
