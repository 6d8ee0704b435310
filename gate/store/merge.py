"""Merge the shards of a task into the whole sample set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gate.errors import SampleError
from gate.samples.record import SAMPLE_SCHEMA
from gate.store.lock import one_writer
from gate.store.manifest import DataFile, Manifest, Shard, Timings
from gate.store.sample_set import SampleSet, open_sets
from gate.store.writer import finish_set, restore, staging_folder, write_data_file

_SAME_WAY = "Evaluate all shards with the same quantgate, gate.yml, model and kind of machine."


def read_shards(folders: Sequence[Path]) -> dict[str, list[SampleSet]]:
    """Open the shards that `gate evaluate --shard` wrote, and return all shards of each task, in order.

    Each folder is a sample set or a folder of sample sets.

    Raises
    ------
    SampleError
        A folder has no sets, a set is damaged or not a shard, a shard is missing or given twice, or the shards were
        not evaluated with the same model and settings.
    """
    tasks: dict[str, list[SampleSet]] = {}
    for folder in folders:
        sets = open_sets(folder)
        if not sets:
            raise SampleError(
                f"{folder} holds no sample sets.",
                "Name the folders that `gate evaluate --shard i/n -o` wrote.",
            )
        for sample_set in sets:
            manifest = sample_set.manifest
            if manifest.shard is None:
                raise SampleError(
                    f"{sample_set.folder} is the whole set of task {manifest.task}; there is nothing to merge.",
                    "Name folders that `gate evaluate --shard i/n` wrote.",
                )
            tasks.setdefault(manifest.task, []).append(sample_set)
    for sets in tasks.values():
        sets.sort(key=lambda sample_set: _shard(sample_set.manifest).index)
        _check_same_evaluation(sets)
        _check_complete(sets)
    return tasks


def merge(shards: Sequence[SampleSet], folder: Path, message: Callable[[str], None] = lambda _: None) -> SampleSet:
    """Write the whole set of a task to `folder`: the same bytes as if one machine had evaluated it.

    `shards` are all shards of the task, as `read_shards` returns them. An older set in `folder` is replaced.

    Raises
    ------
    SampleError
        A shard's rows are altered or do not match its items, or `folder` holds something other than a sample set.
    EvaluationError
        `folder` cannot be written, or another process is writing it.
    """
    first = shards[0].manifest
    whole = _shard(first)
    tables = [sample_set.read().table for sample_set in shards]
    positions = np.concatenate(
        [_item_positions(sample_set, table) for sample_set, table in zip(shards, tables, strict=True)]
    )
    order = np.argsort(positions, kind="stable")
    positions = positions[order]
    # Parquet renames the elements of lists; the cast makes equal rows equal bytes
    table = pa.concat_tables(tables).take(pa.array(order)).cast(SAMPLE_SCHEMA)
    if pc.count_distinct(table.column("item_id")).as_py() != whole.items:
        raise SampleError(
            f"task {first.task}: several shards hold the same item; the task's file differed between the machines.",
            _SAME_WAY,
        )
    with one_writer(folder, message):
        restore(folder)
        with staging_folder(folder) as temporary:
            data_files: list[DataFile] = []
            for start in range(0, whole.items, whole.items_per_data_file):
                begin, end = np.searchsorted(positions, [start, start + whole.items_per_data_file])
                rows = table.slice(int(begin), int(end - begin)).combine_chunks()
                data_files.append(write_data_file(temporary, len(data_files), rows))
            manifest = _merged_manifest([sample_set.manifest for sample_set in shards], data_files)
            return finish_set(temporary, folder, manifest)


def _check_same_evaluation(shards: Sequence[SampleSet]) -> None:
    first = shards[0]
    expected = _common_settings(first.manifest)
    for other in shards[1:]:
        settings = _common_settings(other.manifest)
        if other.manifest.items == 0:  # an engine that got no requests does not know its scoring method
            settings["libraries"] = expected["libraries"]
        differences = [
            f"{name}: {expected[name]} and {settings[name]}" for name in expected if expected[name] != settings[name]
        ]
        if differences:
            raise SampleError(
                f"task {first.manifest.task}: {first.folder} and {other.folder} were evaluated differently "
                f"({'; '.join(differences)}).",
                _SAME_WAY,
            )


def _check_complete(shards: Sequence[SampleSet]) -> None:
    task, of = shards[0].manifest.task, _shard(shards[0].manifest).of
    indices = [_shard(sample_set.manifest).index for sample_set in shards]
    for previous, sample_set in itertools.pairwise(shards):
        if previous.manifest.shard == sample_set.manifest.shard:
            raise SampleError(
                f"task {task}: {previous.manifest.shard} is given twice: {previous.folder} and {sample_set.folder}.",
                "Name each shard once.",
            )
    missing = sorted({*range(1, of + 1)} - {*indices})
    if missing:
        listed = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        raise SampleError(
            f"task {task}: {len(missing)} of {of} shards are missing: {listed}.",
            f"Evaluate them: `gate evaluate --shard {missing[0]}/{of}`"
            f"{' and so on' if len(missing) > 1 else ''}, and name their folders too.",
        )


def _common_settings(manifest: Manifest) -> dict[str, object]:
    """Return the settings that all shards must share, by names that messages show."""
    model, shard = manifest.model, _shard(manifest)
    return {
        "number of shards": shard.of,
        "items of the task": shard.items,
        "items per data file": shard.items_per_data_file,
        "model": model.fingerprint[:12],
        "task": manifest.task_fingerprint[:12],
        "metric": manifest.metric,
        "KL divergence measured from": manifest.reference and manifest.reference[:12],
        "device": model.device.partition(":")[0],
        "dtype": model.loaded_dtype,
        "tokenizer": model.loaded_tokenizer[:12],
        "end tokens": model.end_tokens,
        "libraries": ", ".join(f"{name} {version}" for name, version in sorted(model.versions.items())),
        "quantgate": manifest.quantgate,
        "stored distributions": (manifest.top_tokens, manifest.drawn_tokens, manifest.positions, manifest.texts),
    }


def _item_positions(sample_set: SampleSet, table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the 0-based position of each row's item in the whole task."""
    shard = _shard(sample_set.manifest)
    items = table.column("item_id").combine_chunks().dictionary_encode()
    expected = len(shard.positions)
    if not len(items.dictionary) == expected == sample_set.manifest.items:
        raise SampleError(
            f"{sample_set.folder}: {shard} of a task of {shard.items} items must hold {expected} items; "
            f"its data files hold {len(items.dictionary)}, and its manifest says {sample_set.manifest.items}.",
            _SAME_WAY,
        )
    codes: npt.NDArray[np.int32] = items.indices.to_numpy()
    return np.array(shard.positions, dtype=np.int64)[codes]


def _merged_manifest(shards: Sequence[Manifest], data_files: Sequence[DataFile]) -> Manifest:
    first = shards[0]
    seconds = sum(manifest.timings.seconds for manifest in shards)
    items = sum(manifest.items for manifest in shards)
    hardware = dict.fromkeys(manifest.model.hardware for manifest in shards)
    stacks = [manifest.model.stack for manifest in shards]
    # a fact that one shard lacks is unknown for the whole set
    known = [key for key in stacks[0] if all(key in stack for stack in stacks)]
    stack = {key: ", ".join(dict.fromkeys(stack[key] for stack in stacks)) for key in known}
    return first.model_copy(
        update={
            "settings": None,  # those of one shard
            "items": items,
            "rows": sum(data_file.rows for data_file in data_files),
            "data_files": list(data_files),
            "model": first.model.model_copy(update={"hardware": ", ".join(hardware), "stack": stack}),
            "timings": Timings(
                seconds=seconds,
                items_per_second=items / max(seconds, 1e-9),
                tokens_in=sum(manifest.timings.tokens_in for manifest in shards),
                tokens_out=sum(manifest.timings.tokens_out for manifest in shards),
                peak_memory=max((manifest.timings.peak_memory or 0 for manifest in shards), default=0) or None,
            ),
            "created": max(manifest.created for manifest in shards),
            "shard": None,
        }
    )


def _shard(manifest: Manifest) -> Shard:
    if manifest.shard is None:
        raise ValueError(f"task {manifest.task}: not a shard")
    return manifest.shard
