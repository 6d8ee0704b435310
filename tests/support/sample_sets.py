"""Sample sets written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from gate.importers.build import task_samples
from gate.store import SampleSet
from gate.store.manifest import DataFile, Manifest, ModelRecord, Timings
from gate.store.writer import finish_set, staging_folder, write_data_file

MODEL = ModelRecord(
    name="org/model",
    revision="abc123",
    weights="w" * 64,
    tokenizer="t" * 64,
    dtype="auto",
    engine="transformers",
    fingerprint="f" * 64,
    device="cpu",
    hardware="a CPU",
    loaded_dtype="float32",
    loaded_tokenizer="d" * 64,
    end_tokens=[1],
    versions={"torch": "2"},
)


class SetWriter:
    """Writes a set in a staging folder, as `gate merge` does; without `finish`, nothing is left."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.staging = folder, staging_folder(folder)
        self.data_files: list[DataFile] = []

    def __enter__(self) -> SetWriter:
        self.temporary = self.staging.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.staging.__exit__(*error)

    def add(self, table: pa.Table) -> None:
        self.data_files.append(write_data_file(self.temporary, len(self.data_files), table))

    def finish(self, manifest: Manifest) -> SampleSet:
        return finish_set(self.temporary, self.folder, manifest)


def table(items: range, task: str = "facts", score: float = 1.0) -> pa.Table:
    columns = {
        "item_id": [f"item-{number}" for number in items],
        "score": [score] * len(items),
        "output": ["0"] * len(items),
        "target": ["0"] * len(items),
    }
    return task_samples(task, "acc", columns).table


def manifest(writer: SetWriter, task: str = "facts", **changes: Any) -> Manifest:
    rows = sum(data_file.rows for data_file in writer.data_files)
    built = Manifest(
        schema_version=1,
        task=task,
        metric="acc",
        items=rows,
        rows=rows,
        data_files=writer.data_files,
        task_fingerprint="a" * 64,
        facets={"prompt": "Q"},
        model=MODEL,
        reference=None,
        timings=Timings(seconds=2.0, items_per_second=rows / 2, tokens_in=1, tokens_out=1),
        created="2026-01-01T00:00:00+00:00",
        quantgate="0",
    )
    return built.model_copy(update=changes)


def write_set(folder: Path, score: float = 1.0, **changes: Any) -> SampleSet:
    """Write a set of 7 items in two data files."""
    task = changes.get("task", "facts")
    with SetWriter(folder) as writer:
        writer.add(table(range(4), task, score))
        writer.add(table(range(4, 7), task, score))
        return writer.finish(manifest(writer, **changes))
