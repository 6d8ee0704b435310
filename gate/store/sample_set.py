"""Sample sets on disk: Parquet data files and a manifest, read and verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from gate.common.parquet import TooLargeError, read_parquet
from gate.errors import SampleError
from gate.samples.alignment import first_names
from gate.samples.record import SAMPLE_SCHEMA, SCHEMA_VERSION, ModelSamples, TaskSamples, with_later_columns
from gate.store.manifest import MANIFEST, DataFile, Manifest

EVALUATE_AGAIN = "Delete the folder and evaluate again (`gate baseline --force` for a baseline)."


@dataclass(frozen=True)
class SampleSet:
    """A complete set on disk: its folder and its manifest. Rows are read and verified on demand."""

    folder: Path
    manifest: Manifest

    def read(self) -> TaskSamples:
        """Read all rows.

        Raises
        ------
        SampleError
            A data file is missing, truncated or altered.
        """
        tables = list(self.tables())
        table = pa.concat_tables(tables) if tables else SAMPLE_SCHEMA.empty_table()
        manifest = self.manifest
        return TaskSamples(
            manifest.task,
            manifest.metric,
            table,
            manifest.facets,
            manifest.reference,
            manifest.stopped_of,
            measured_texts=manifest.texts,
        )

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows of each data file; errors as in `read`."""
        for data_file in self.manifest.data_files:
            yield read_data_file(self.folder, data_file)


def open_set(folder: Path) -> SampleSet:
    """Open a sample set and check that it is complete. The contents of data files are verified when they are read.

    Raises
    ------
    SampleError
        No manifest, an invalid one, another schema version, or missing data files.
    """
    manifest = read_manifest(folder)
    for data_file in manifest.data_files:
        if not (folder / data_file.file).is_file():
            raise SampleError(f"{folder} is incomplete: {data_file.file} is missing.", EVALUATE_AGAIN)
    return SampleSet(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read and validate the manifest in a folder.

    Raises
    ------
    SampleError
        No manifest, an invalid one, or another schema version.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SampleError(f"{folder} is not a complete sample set: it has no {MANIFEST}.", EVALUATE_AGAIN) from None
    except (OSError, ValueError, RecursionError) as error:
        raise SampleError(f"{path} is not readable: {error}.", EVALUATE_AGAIN) from None
    if isinstance(data, dict):
        check_schema_version(data.get("schema_version"), folder)
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise SampleError(f"{path} is not a valid manifest: {key}: {first['msg']}.", EVALUATE_AGAIN) from None
    rows = sum(data_file.rows for data_file in manifest.data_files)
    if rows != manifest.rows:
        raise SampleError(
            f"{path} is inconsistent: its data files have {rows} rows, its total is {manifest.rows}.",
            EVALUATE_AGAIN,
        )
    return manifest


def read_data_file(folder: Path, data_file: DataFile) -> pa.Table:
    """Read the rows of a data file after checking its hash.

    Raises
    ------
    SampleError
        The file is missing, truncated or altered.
    """
    path = folder / data_file.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SampleError(f"{path} cannot be read: {error}.", EVALUATE_AGAIN) from None
    if hashlib.sha256(content).hexdigest() != data_file.sha256:
        raise SampleError(
            f"{path} was altered or truncated: its SHA-256 is not the one in the manifest.", EVALUATE_AGAIN
        )
    try:
        table = with_later_columns(read_parquet(pa.BufferReader(content)))
    except (pa.ArrowException, TooLargeError, OSError) as error:
        raise SampleError(f"{path} is not a Parquet file: {error}.", EVALUATE_AGAIN) from None
    if table.schema != SAMPLE_SCHEMA:
        raise SampleError(
            f"{path} does not have the columns of a data file: {_difference(table.schema)}.", EVALUATE_AGAIN
        )
    if table.num_rows != data_file.rows:
        raise SampleError(f"{path} has {table.num_rows} rows; its manifest says {data_file.rows}.", EVALUATE_AGAIN)
    return table


def _difference(schema: pa.Schema) -> str:
    """Return which columns are missing, unexpected or of another type."""
    found, expected = set(schema.names), set(SAMPLE_SCHEMA.names)
    retyped = [field.name for field in SAMPLE_SCHEMA if field.name in found and schema.field(field.name) != field]
    differences = {
        "missing": sorted(expected - found),
        "unexpected": sorted(found - expected),
        "of another type": retyped,
    }
    parts = [f"{label}: {first_names(names)}" for label, names in differences.items() if names]
    return "; ".join(parts) or "they are in another order"


def refuse_shard(sample_set: SampleSet) -> None:
    """Raise a SampleError if the set is one shard of its task."""
    manifest = sample_set.manifest
    if manifest.shard is not None:
        raise SampleError(
            f"{sample_set.folder} is {manifest.shard} of task {manifest.task}, not the whole set.",
            "Merge all shards first: `gate merge SHARD... -o OUT`.",
        )


def open_sets(path: Path) -> list[SampleSet]:
    """Open the sample set in a folder, or the sets in its subfolders; empty if there are none.

    Raises
    ------
    SampleError
        A set is damaged.
    """
    if (path / MANIFEST).is_file():
        return [open_set(path)]
    return [open_set(manifest.parent) for manifest in sorted(path.glob(f"[!.]*/{MANIFEST}"))]


def read_sets(path: Path) -> ModelSamples | None:
    """Read a sample set, or a folder of sets, as the samples of one model; None if there is no set.

    Raises
    ------
    SampleError
        A set is damaged or only a shard, or the folder holds a task twice or sets of several models.
    """
    sets = open_sets(path)
    if not sets:
        return None
    by_task: dict[str, SampleSet] = {}
    for sample_set in sets:
        refuse_shard(sample_set)
        other = by_task.setdefault(sample_set.manifest.task, sample_set)
        if other is not sample_set:
            raise SampleError(
                f"{path} holds task {sample_set.manifest.task} twice: {other.folder.name} and "
                f"{sample_set.folder.name}.",
                "Name one of the two folders, or compare folders that hold each task once.",
            )
    models = {sample_set.manifest.model.fingerprint: sample_set.manifest.model.name for sample_set in sets}
    if len(models) > 1:
        raise SampleError(
            f"{path} holds sets of {len(models)} models: {', '.join(sorted(models.values()))}.",
            "Name a folder with the sets of one model.",
        )
    return as_samples(sets)


def as_samples(sets: Sequence[SampleSet]) -> ModelSamples:
    """Read the sets of one model as one side of a comparison."""
    model = sets[0].manifest.model
    about = {
        **model.model_dump(),
        "sets": {
            sample_set.manifest.task: {
                "task_fingerprint": sample_set.manifest.task_fingerprint,
                "created": sample_set.manifest.created,
                "seconds": sample_set.manifest.timings.seconds,
                "tokens": sample_set.manifest.timings.tokens_in + sample_set.manifest.timings.tokens_out,
                "peak_memory": sample_set.manifest.timings.peak_memory,
                "quantgate": sample_set.manifest.quantgate,
            }
            for sample_set in sets
        },
    }
    return ModelSamples(model.name, {sample_set.manifest.task: sample_set.read() for sample_set in sets}, about)


def check_schema_version(version: object, path: Path) -> None:
    """Raise a SampleError unless this quantgate reads the schema version found at a path."""
    if version != SCHEMA_VERSION:
        raise SampleError(
            f"{path} has schema version {version}; this quantgate reads version {SCHEMA_VERSION}.",
            "Use the quantgate that wrote it, or name another store and evaluate again.",
        )
