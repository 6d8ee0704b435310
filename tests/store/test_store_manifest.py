"""The keys of manifest.json and journal.json are a file format: they do not follow the names in the code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.evaluations import choice_task, evaluate, opened
from support.sample_sets import table

from gate.errors import SampleError
from gate.evaluation.evaluate import TaskEvaluation
from gate.store import open_set, read_sets

MANIFEST: dict[str, Any] = {
    "schema_version": 1,
    "task": "facts",
    "metric": "acc",
    "items": 4,
    "rows": 4,
    "shards": [{"file": "shard-00000.parquet", "rows": 4, "sha256": "to be filled in"}],
    "task_fingerprint": "a" * 64,
    "facets": {"prompt": "Q"},
    "model": {
        "name": "org/model",
        "revision": None,
        "weights": "w" * 64,
        "tokenizer": "t" * 64,
        "dtype": "auto",
        "engine": "transformers",
        "fingerprint": "f" * 64,
        "device": "cpu",
        "hardware": "a CPU",
        "loaded_dtype": "float32",
        "loaded_tokenizer": "d" * 64,
        "end_tokens": [1],
        "versions": {"torch": "2"},
    },
    "reference": None,
    "timings": {"seconds": 2.0, "items_per_second": 2.0, "tokens_in": 1, "tokens_out": 1},
    "created": "2026-01-01T00:00:00+00:00",
    "quantgate": "0.1.0",
    "part": None,
    "top_tokens": 128,
    "settings": "c" * 64,
    "stopped_of": None,
}
"""A manifest as quantgate 0.1.0 wrote it."""


def write_old_set(folder: Path, **changes: Any) -> dict[str, Any]:
    folder.mkdir()
    path = folder / "shard-00000.parquet"
    pq.write_table(table(range(4)), path, compression="zstd")
    data_file = {**MANIFEST["shards"][0], "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest = {**MANIFEST, "shards": [data_file], **changes}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def with_newer_facts(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest of 0.1.0 with the defaults of the facts that later versions record."""
    newer = {"stack": {}, "control": "", "weights_bytes": None, "quantization": None}
    newer |= {"load_quantization": "", "adapter": ""}
    timings = {**manifest["timings"], "peak_memory": None}
    own = {"timings": timings, "drawn_tokens": 0, "positions": 1, "texts": None}
    return {**manifest, "model": {**manifest["model"], **newer}, **own}


def test_an_existing_manifest_is_read_and_written_with_the_same_keys(tmp_path: Path) -> None:
    written = write_old_set(tmp_path / "set")
    sample_set = open_set(tmp_path / "set")
    assert sample_set.read().table.equals(table(range(4)))
    assert json.loads(sample_set.manifest.model_dump_json(by_alias=True)) == with_newer_facts(written)


def test_the_shard_of_an_existing_manifest_is_recognised(tmp_path: Path) -> None:
    part = {"index": 2, "of": 4, "items": 16, "shard_items": 512}
    written = write_old_set(tmp_path / "set", part=part)
    sample_set = open_set(tmp_path / "set")
    assert sample_set.manifest.shard is not None
    assert sample_set.manifest.shard.items_per_data_file == 512
    assert json.loads(sample_set.manifest.model_dump_json(by_alias=True)) == with_newer_facts(written)
    with pytest.raises(SampleError, match="is shard 2 of 4 of task facts"):
        read_sets(tmp_path / "set")


def test_an_evaluation_writes_the_same_keys_and_file_names(tmp_path: Path, tiny_model: Path) -> None:
    evaluate(choice_task(tmp_path), opened(tiny_model), tmp_path / "set", shard=(1, 2))
    written = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert list(written) == list(with_newer_facts(MANIFEST))
    assert [list(data_file) for data_file in written["shards"]] == [["file", "rows", "sha256"]]
    assert written["part"] == {"index": 1, "of": 2, "items": 24, "shard_items": 512}
    files = {path.name for path in (tmp_path / "set").iterdir()}
    assert files == {"manifest.json", "manifest.sig", "shard-00000.parquet"}


def test_a_journal_keeps_its_keys(tmp_path: Path, tiny_model: Path) -> None:
    task, model = choice_task(tmp_path), opened(tiny_model)
    evaluation = TaskEvaluation(task, *model, tmp_path / "set")
    steps = evaluation.steps(lambda _: None, [task.items[:8], task.items[8:]])
    next(steps)
    steps.close()
    (path,) = tmp_path.glob(".set.partial-*/journal.json")
    journal = json.loads(path.read_text())
    assert set(journal) == {"started", "settings", "finished", "signature"}
    assert set(journal["finished"]["0"]) == {"shard", "items", "seconds", "tokens_in", "tokens_out", "method"}


@pytest.mark.parametrize("name", ["../store/x", "/etc/x", "a/b", "..", "a\\b", "a\0b", "a\nb", ""])
def test_a_task_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    """`gate merge -o OUT` writes OUT/TASK: a set from another machine must not choose the folder."""
    write_old_set(tmp_path / "set", task=name)
    with pytest.raises(SampleError, match="not a valid manifest: task"):
        open_set(tmp_path / "set")


@pytest.mark.parametrize(
    ("key", "number"),
    [
        ("items", -1),
        ("rows", -1),
        ("stopped_of", 0),
        ("timings.seconds", float("nan")),
        ("model.weights_bytes", 10**40),
        ("part.of", 10**8),  # the numbers of all shards would be listed
        ("part.items", 10**30),
    ],
)
def test_impossible_numbers_are_refused(tmp_path: Path, key: str, number: float) -> None:
    write_old_set(tmp_path / "set", part={"index": 2, "of": 4, "items": 16, "shard_items": 512})
    path = tmp_path / "set" / "manifest.json"
    content = json.loads(path.read_text())
    section, _, name = key.rpartition(".")
    (content[section] if section else content)[name] = number
    path.write_text(json.dumps(content))
    with pytest.raises(SampleError, match=f"not a valid manifest: {key}"):
        open_set(tmp_path / "set")
