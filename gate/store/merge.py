"""Putting the shards of a task that several machines answered together to the whole set."""

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
from gate.store.local import SampleSet, open_sets
from gate.store.lock import one_writer
from gate.store.manifest import Manifest, Shard, Timings
from gate.store.writer import SetWriter, restore

_AGAIN = "Evaluate all shards with the same quantgate, gate.yml, model and kind of machine."


def read_shards(folders: Sequence[Path]) -> dict[str, list[SampleSet]]:
    """Open the shards in folders that `gate evaluate --shard` wrote: by task, in the order of their numbers.

    Parameters
    ----------
    folders : sequence of Path
        Each a set, or a folder of sets.

    Raises
    ------
    SampleError
        A folder without sets, a damaged set, one that is whole, shards that are missing or there twice, or that were
        not answered by the same model in the same way.
    """
    tasks: dict[str, list[SampleSet]] = {}
    for folder in folders:
        sets = open_sets(folder)
        if not sets:
            raise SampleError(
                f"{folder} holds no sample sets.",
                "Name the folders that `gate evaluate --shard i/n -o` wrote.",
            )
        for one in sets:
            if one.manifest.shard is None:
                raise SampleError(
                    f"{one.folder} is the whole set of task {one.manifest.task}; there is nothing to merge.",
                    "Name folders that `gate evaluate --shard i/n` wrote.",
                )
            tasks.setdefault(one.manifest.task, []).append(one)
    shards = {task: sorted(sets, key=lambda one: _shard(one).index) for task, sets in tasks.items()}
    for sets in shards.values():
        _check(sets)
    return shards


def merge(shards: Sequence[SampleSet], folder: Path, say: Callable[[str], None] = lambda _: None) -> SampleSet:
    """Write the whole set of a task: the rows in the order of its items, in the data files of an evaluation at one place.

    Parameters
    ----------
    shards : sequence of SampleSet
        All shards of one task, as `read_shards` returns them.
    folder : Path
        The set's folder; an older set there is replaced.
    say : callable
        See `one_writer`.

    Raises
    ------
    SampleError
        A shard's rows are altered, or are not those of its items; `folder` holds something else than a sample set.
    EvaluationError
        `folder` cannot be written, or another process writes it.
    """
    record = _shard(shards[0])
    tables = [one.read().table for one in shards]
    place = np.concatenate([_places(one, table) for one, table in zip(shards, tables, strict=True)])
    order = np.argsort(place, kind="stable")
    place = place[order]
    # cast: Parquet gives lists another name for their elements, and equal rows should be equal bytes
    table = pa.concat_tables(tables).take(pa.array(order)).cast(SAMPLE_SCHEMA)
    if pc.count_distinct(table.column("item_id")).as_py() != record.items:
        raise SampleError(
            f"task {shards[0].manifest.task}: the same item is in several shards; the task's file differed between the "
            "machines.",
            _AGAIN,
        )
    with one_writer(folder, say):
        restore(folder)
        with SetWriter(folder) as writer:
            for start in range(0, record.items, record.items_per_data_file):
                first, end = np.searchsorted(place, [start, start + record.items_per_data_file])
                writer.add(table.slice(int(first), int(end - first)).combine_chunks())
            return writer.finish(_manifest([one.manifest for one in shards], writer))


def _check(shards: Sequence[SampleSet]) -> None:
    """Refuse shards that do not belong together, or are not all there."""
    first = shards[0]
    wanted = _common(first.manifest)
    for other in shards[1:]:
        found = _common(other.manifest)
        if other.manifest.items == 0:  # an engine that was asked nothing does not know how it scores
            found["libraries"] = wanted["libraries"]
        differs = [
            f"{name}: {wanted[name]} and {found[name]}" for name in wanted if wanted[name] != found[name]
        ]
        if differs:
            raise SampleError(
                f"task {first.manifest.task}: {first.folder} and {other.folder} were not evaluated in the same way "
                f"({'; '.join(differs)}).",
                _AGAIN,
            )
    of = _shard(first).of
    numbers = [_shard(one).index for one in shards]
    for one, other in itertools.pairwise(shards):
        if _shard(one).index == _shard(other).index:
            raise SampleError(
                f"task {one.manifest.task}: {one.manifest.shard} is there twice: {one.folder} and {other.folder}.",
                "Name each shard once.",
            )
    missing = sorted({*range(1, of + 1)} - {*numbers})
    if missing:
        raise SampleError(
            f"task {first.manifest.task}: of {of} shards, {len(missing)} are missing: {_numbers(missing)}.",
            f"Evaluate them: `gate evaluate --shard {missing[0]}/{of}`"
            f"{' and so on' if len(missing) > 1 else ''}, and name their folders too.",
        )


def _common(manifest: Manifest) -> dict[str, object]:
    """Return what all shards must agree in, by a name that the user understands."""
    model, shard = manifest.model, manifest.shard
    assert shard is not None  # noqa: S101 - for the type checker
    return {
        "number of shards": shard.of,
        "items of the task": shard.items,
        "items a data file": shard.items_per_data_file,
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
    }


def _places(shard: SampleSet, table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the place of each row's item in the whole task, counted from 0."""
    record = _shard(shard)
    items = table.column("item_id").combine_chunks().dictionary_encode()
    expected = len(range(record.index - 1, record.items, record.of))
    if not len(items.dictionary) == expected == shard.manifest.items:
        raise SampleError(
            f"{shard.folder}: {record} of {record.items} items must hold {expected}; it holds {len(items.dictionary)}.",
            _AGAIN,
        )
    codes: npt.NDArray[np.int64] = items.indices.to_numpy().astype(np.int64)
    return record.index - 1 + codes * record.of


def _manifest(shards: Sequence[Manifest], writer: SetWriter) -> Manifest:
    first = shards[0]
    seconds = sum(one.timings.seconds for one in shards)
    items = sum(one.items for one in shards)
    return first.model_copy(
        update={
            "settings": None,  # of a shard
            "items": items,
            "rows": sum(data_file.rows for data_file in writer.data_files),
            "data_files": writer.data_files,
            "model": first.model.model_copy(
                update={"hardware": ", ".join(dict.fromkeys(one.model.hardware for one in shards))}
            ),
            "timings": Timings(
                seconds=seconds,
                items_per_second=items / max(seconds, 1e-9),
                tokens_in=sum(one.timings.tokens_in for one in shards),
                tokens_out=sum(one.timings.tokens_out for one in shards),
            ),
            "created": max(one.created for one in shards),
            "shard": None,
        }
    )


def _shard(one: SampleSet) -> Shard:
    assert one.manifest.shard is not None  # noqa: S101 - for the type checker
    return one.manifest.shard


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
