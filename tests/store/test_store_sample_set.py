"""Sample sets on disk are verified when they are read."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.sample_sets import MODEL, SetWriter, manifest, table, write_set

from gate.errors import SampleError
from gate.samples import SAMPLE_SCHEMA
from gate.store import Store, as_samples, open_set, read_sets


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder: Path) -> str:
    """Return the error of opening and reading the set in a folder."""
    with pytest.raises(SampleError) as caught:
        open_set(folder).read()
    assert caught.value.hint
    return str(caught.value)


def test_a_written_set_is_read_back(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    samples = open_set(tmp_path / "set").read()
    assert samples.table.equals(table(range(7)))
    assert samples.table.schema == SAMPLE_SCHEMA
    assert (samples.task, samples.metric, samples.facets) == ("facts", "acc", {"prompt": "Q"})


@pytest.mark.parametrize("offset", [0, 100, -1])
def test_an_altered_byte_is_refused(tmp_path: Path, offset: int) -> None:
    write_set(tmp_path / "set")
    data_file = tmp_path / "set" / "shard-00001.parquet"
    content = bytearray(data_file.read_bytes())
    content[offset] ^= 1
    data_file.write_bytes(content)
    message = refused(tmp_path / "set")
    assert str(data_file) in message
    assert "altered or truncated" in message


@pytest.mark.parametrize("kept", [0, 1, 500])
def test_a_truncated_data_file_is_refused(tmp_path: Path, kept: int) -> None:
    write_set(tmp_path / "set")
    data_file = tmp_path / "set" / "shard-00000.parquet"
    assert len(data_file.read_bytes()) > kept
    data_file.write_bytes(data_file.read_bytes()[:kept])
    assert str(data_file) in refused(tmp_path / "set")


def test_a_missing_data_file_is_refused_when_the_set_is_opened(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "shard-00001.parquet").unlink()
    with pytest.raises(SampleError, match=r"set is incomplete: shard-00001\.parquet is missing"):
        open_set(tmp_path / "set")


def test_a_data_file_deleted_after_opening_is_refused(tmp_path: Path) -> None:
    opened = write_set(tmp_path / "set")
    (tmp_path / "set" / "shard-00000.parquet").unlink()
    with pytest.raises(SampleError, match=r"shard-00000\.parquet cannot be read"):
        opened.read()


def test_a_folder_without_a_manifest_is_not_a_set(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").unlink()
    message = refused(tmp_path / "set")
    assert str(tmp_path / "set") in message
    assert "no manifest.json" in message
    assert Store(tmp_path).find(tmp_path / "set", "f" * 64, "a" * 64) is None


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_set_of_another_schema_version_is_refused(tmp_path: Path, version: object) -> None:
    write_set(tmp_path / "set")
    change_manifest(tmp_path / "set", schema_version=version)
    message = refused(tmp_path / "set")
    assert str(tmp_path / "set") in message
    assert f"schema version {version}" in message
    assert "reads version 1" in message


def test_an_inconsistent_number_of_rows_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    change_manifest(tmp_path / "set", rows=8)
    message = refused(tmp_path / "set")
    assert str(tmp_path / "set" / "manifest.json") in message
    assert "is inconsistent: its data files have 7 rows, its total is 8" in message


def test_a_data_file_with_another_number_of_rows_than_its_manifest_is_refused(tmp_path: Path) -> None:
    """Both row counts were changed, so the manifest is consistent and the hashes match."""
    write_set(tmp_path / "set")
    data_files = json.loads((tmp_path / "set" / "manifest.json").read_text())["shards"]
    data_files[0]["rows"] += 1
    change_manifest(tmp_path / "set", shards=data_files, rows=8)
    message = refused(tmp_path / "set")
    assert "shard-00000.parquet" in message
    assert "has 4 rows; its manifest says 5" in message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"not Parquet", "is not a Parquet file"),
        (
            None,
            "does not have the columns of a data file: missing: choice_logprobs, choices, cluster, ...; "
            "unexpected: tusk",
        ),
    ],
)
def test_a_data_file_with_other_content_and_a_matching_hash_is_refused(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    write_set(tmp_path / "set")
    data_file = tmp_path / "set" / "shard-00000.parquet"
    if content is None:
        pq.write_table(pa.table({"task": ["facts"] * 4, "tusk": ["facts"] * 4}), data_file)
    else:
        data_file.write_bytes(content)
    data_files = json.loads((tmp_path / "set" / "manifest.json").read_text())["shards"]
    data_files[0]["sha256"] = hashlib.sha256(data_file.read_bytes()).hexdigest()
    change_manifest(tmp_path / "set", shards=data_files)
    assert complaint in refused(tmp_path / "set")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"schema_version": 1}', b'{"schema_version": 1, "task": 3}', b"\xff"],
)
def test_an_invalid_manifest_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    write_set(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").write_bytes(content)
    assert str(tmp_path / "set" / "manifest.json") in refused(tmp_path / "set")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "shard-0.parquet", "shard-00000.parquet/.."])
def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path: Path, name: str) -> None:
    write_set(tmp_path / "set")
    data_files = json.loads((tmp_path / "set" / "manifest.json").read_text())["shards"]
    data_files[0]["file"] = name
    change_manifest(tmp_path / "set", shards=data_files)
    assert "shards.0.file" in refused(tmp_path / "set")


def test_a_folder_of_sets_is_read_as_one_model(tmp_path: Path) -> None:
    write_set(tmp_path / "one" / "facts")
    write_set(tmp_path / "one" / "more", task="more", score=0.0)
    samples = read_sets(tmp_path / "one")
    assert samples is not None
    assert samples.label == "org/model"
    assert {name: one.table.num_rows for name, one in samples.tasks.items()} == {"facts": 7, "more": 7}
    sets = samples.about["sets"]
    assert isinstance(sets, dict)
    assert sets["more"]["created"] == "2026-01-01T00:00:00+00:00"
    assert json.loads(json.dumps(samples.about)) == samples.about


def test_a_single_set_is_read_under_any_folder_name(tmp_path: Path) -> None:
    for name in ("set", "set.old", "set.tmp"):
        write_set(tmp_path / name)
        samples = read_sets(tmp_path / name)
        assert samples is not None
        assert list(samples.tasks) == ["facts"]


def test_a_folder_without_sets_reads_as_none(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert read_sets(tmp_path) is None


def test_leftovers_of_a_killed_run_are_not_read(tmp_path: Path) -> None:
    write_set(tmp_path / "facts")
    shutil.copytree(tmp_path / "facts", tmp_path / ".facts.x1y2.old")
    shutil.copytree(tmp_path / "facts", tmp_path / ".facts.x1y2.tmp")
    samples = read_sets(tmp_path)
    assert samples is not None
    assert list(samples.tasks) == ["facts"]


def test_a_folder_with_a_task_twice_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "a")
    write_set(tmp_path / "b")
    with pytest.raises(SampleError, match="holds task facts twice: a and b"):
        read_sets(tmp_path)


def test_a_folder_of_two_models_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "a")
    other = MODEL.model_copy(update={"fingerprint": "e" * 64, "name": "other"})
    write_set(tmp_path / "b", task="more", model=other)
    with pytest.raises(SampleError, match="sets of 2 models: org/model, other"):
        read_sets(tmp_path)


def test_a_set_without_rows_reads_as_an_empty_table(tmp_path: Path) -> None:
    with SetWriter(tmp_path / "set") as writer:
        done = writer.finish(manifest(writer))
    assert as_samples([done]).tasks["facts"].table.equals(SAMPLE_SCHEMA.empty_table())


def test_a_data_file_of_an_older_version_lacks_later_columns_which_are_read_as_null(tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    later = ["finish_reason", "reasoning", "reasoning_closed"]
    data_files = json.loads((tmp_path / "set" / "manifest.json").read_text())["shards"]
    for entry in data_files:
        data_file = tmp_path / "set" / entry["file"]
        pq.write_table(pq.read_table(data_file).drop_columns(later), data_file)
        entry["sha256"] = hashlib.sha256(data_file.read_bytes()).hexdigest()
    change_manifest(tmp_path / "set", shards=data_files)
    samples = open_set(tmp_path / "set").read().table
    assert samples.schema == SAMPLE_SCHEMA
    assert all(samples[name].null_count == len(samples) for name in later)
