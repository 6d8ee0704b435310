"""A store in a local folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.sample_sets import write_set

from gate.errors import SampleError
from gate.store import Store


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_store_of_another_schema_version_is_refused(tmp_path: Path, version: object) -> None:
    (tmp_path / "store.json").write_text(json.dumps({"schema_version": version}))
    with pytest.raises(SampleError, match=f"schema version {version}; this quantgate reads version 1") as caught:
        Store(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("\udcff", "is not JSON"),
        ("[]", "it has no schema_version"),
        ("{}", "it has no schema_version"),
    ],
)
def test_an_unreadable_store_marker_is_refused_by_name(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "store.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SampleError, match=rf"store\.json .*{complaint}|store\.json {complaint}") as caught:
        Store(tmp_path)
    assert caught.value.hint == "Rename or delete the store folder, then run again."


def test_the_store_marks_its_schema_version_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    marker = tmp_path / "store" / "store.json"
    assert json.loads(marker.read_text()) == {"schema_version": 1}
    stamp = marker.stat().st_mtime_ns
    Store(tmp_path / "store").prepare()
    assert marker.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("model", ["org/model", "../../../etc", "..", "/abs/path", "a\nb c", "模型", "x" * 300])
def test_a_sets_folder_is_inside_the_store_for_any_model_name(tmp_path: Path, model: str) -> None:
    store = Store(tmp_path)
    folder = store.folder("baseline", model, "f" * 64, "facts", "a" * 64)
    assert folder.resolve().is_relative_to(tmp_path.resolve())
    assert folder.relative_to(tmp_path).parts[0] == "baseline"
    assert len(folder.relative_to(tmp_path).parts) == 3
    assert len(folder.parent.name) < 100


def test_models_tasks_and_roles_never_share_a_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folders = {
        store.folder(role, "m", fingerprint, task, task_fingerprint)
        for role in ("baseline", "candidate")
        for fingerprint in ("a" * 64, "b" * 64)
        for task in ("t", "u")
        for task_fingerprint in ("a" * 64, "b" * 64)
    }
    assert len(folders) == 16


def test_the_store_finds_a_complete_set_and_refuses_a_damaged_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find(tmp_path / "set", "f" * 64, "a" * 64) is None
    write_set(tmp_path / "set")
    found = store.find(tmp_path / "set", "f" * 64, "a" * 64)
    assert found is not None
    assert found.manifest.rows == 7
    (tmp_path / "set" / "shard-00000.parquet").unlink()
    with pytest.raises(SampleError, match="incomplete"):
        store.find(tmp_path / "set", "f" * 64, "a" * 64)


def test_a_set_of_another_model_or_task_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    write_set(tmp_path / "set")
    for model, task in (("f" * 63 + "0", "a" * 64), ("f" * 64, "a" * 63 + "0")):
        with pytest.raises(SampleError, match="a different model or task"):
            store.find(tmp_path / "set", model, task)
