"""Putting the parts of a task that several machines answered together to the whole set."""

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
from gate.store.manifest import Manifest, PartRecord, Timings
from gate.store.writer import SetWriter, restore

_AGAIN = "Evaluate all parts with the same quantgate, gate.yml, model and kind of machine."


def read_parts(folders: Sequence[Path]) -> dict[str, list[SampleSet]]:
    """Open the parts in folders that `gate evaluate --shard` wrote: by task, in the order of their numbers.

    Parameters
    ----------
    folders : sequence of Path
        Each a set, or a folder of sets.

    Raises
    ------
    SampleError
        A folder without sets, a damaged set, one that is whole, parts that are missing or there twice, or that were
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
            if one.manifest.part is None:
                raise SampleError(
                    f"{one.folder} is the whole set of task {one.manifest.task}; there is nothing to merge.",
                    "Name folders that `gate evaluate --shard i/n` wrote.",
                )
            tasks.setdefault(one.manifest.task, []).append(one)
    parts = {task: sorted(sets, key=lambda one: _part(one).index) for task, sets in tasks.items()}
    for sets in parts.values():
        _check(sets)
    return parts


def merge(parts: Sequence[SampleSet], folder: Path, say: Callable[[str], None] = lambda _: None) -> SampleSet:
    """Write the whole set of a task: the rows in the order of its items, in the data files of an evaluation at one place.

    Parameters
    ----------
    parts : sequence of SampleSet
        All parts of one task, as `read_parts` returns them.
    folder : Path
        The set's folder; an older set there is replaced.
    say : callable
        See `one_writer`.

    Raises
    ------
    SampleError
        A part's rows are altered, or are not those of its items; `folder` holds something else than a sample set.
    EvaluationError
        `folder` cannot be written, or another process writes it.
    """
    record = _part(parts[0])
    tables = [one.read().table for one in parts]
    place = np.concatenate([_places(one, table) for one, table in zip(parts, tables, strict=True)])
    order = np.argsort(place, kind="stable")
    place = place[order]
    # cast: Parquet gives lists another name for their elements, and equal rows should be equal bytes
    table = pa.concat_tables(tables).take(pa.array(order)).cast(SAMPLE_SCHEMA)
    if pc.count_distinct(table.column("item_id")).as_py() != record.items:
        raise SampleError(
            f"task {parts[0].manifest.task}: the same item is in several parts; the task's file differed between the "
            "machines.",
            _AGAIN,
        )
    with one_writer(folder, say):
        restore(folder)
        with SetWriter(folder) as writer:
            for start in range(0, record.items, record.items_per_data_file):
                first, end = np.searchsorted(place, [start, start + record.items_per_data_file])
                writer.add(table.slice(int(first), int(end - first)).combine_chunks())
            return writer.finish(_manifest([one.manifest for one in parts], writer))


def _check(parts: Sequence[SampleSet]) -> None:
    """Refuse parts that do not belong together, or are not all there."""
    first = parts[0]
    wanted = _common(first.manifest)
    for other in parts[1:]:
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
    of = _part(first).of
    numbers = [_part(one).index for one in parts]
    for one, other in itertools.pairwise(parts):
        if _part(one).index == _part(other).index:
            raise SampleError(
                f"task {one.manifest.task}: {one.manifest.part} is there twice: {one.folder} and {other.folder}.",
                "Name each part once.",
            )
    missing = sorted({*range(1, of + 1)} - {*numbers})
    if missing:
        raise SampleError(
            f"task {first.manifest.task}: of {of} parts, {len(missing)} are missing: {_numbers(missing)}.",
            f"Evaluate them: `gate evaluate --shard {missing[0]}/{of}`"
            f"{' and so on' if len(missing) > 1 else ''}, and name their folders too.",
        )


def _common(manifest: Manifest) -> dict[str, object]:
    """Return what all parts must agree in, by a name that the user understands."""
    model, part = manifest.model, manifest.part
    assert part is not None  # noqa: S101 - for the type checker
    return {
        "number of parts": part.of,
        "items of the task": part.items,
        "items a data file": part.items_per_data_file,
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


def _places(part: SampleSet, table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the place of each row's item in the whole task, counted from 0."""
    record = _part(part)
    items = table.column("item_id").combine_chunks().dictionary_encode()
    expected = len(range(record.index - 1, record.items, record.of))
    if not len(items.dictionary) == expected == part.manifest.items:
        raise SampleError(
            f"{part.folder}: {record} of {record.items} items must hold {expected}; it holds {len(items.dictionary)}.",
            _AGAIN,
        )
    codes: npt.NDArray[np.int64] = items.indices.to_numpy().astype(np.int64)
    return record.index - 1 + codes * record.of


def _manifest(parts: Sequence[Manifest], writer: SetWriter) -> Manifest:
    first = parts[0]
    seconds = sum(one.timings.seconds for one in parts)
    items = sum(one.items for one in parts)
    return first.model_copy(
        update={
            "settings": None,  # of a part
            "items": items,
            "rows": sum(data_file.rows for data_file in writer.data_files),
            "data_files": writer.data_files,
            "model": first.model.model_copy(
                update={"hardware": ", ".join(dict.fromkeys(one.model.hardware for one in parts))}
            ),
            "timings": Timings(
                seconds=seconds,
                items_per_second=items / max(seconds, 1e-9),
                tokens_in=sum(one.timings.tokens_in for one in parts),
                tokens_out=sum(one.timings.tokens_out for one in parts),
            ),
            "created": max(one.created for one in parts),
            "part": None,
        }
    )


def _part(one: SampleSet) -> PartRecord:
    assert one.manifest.part is not None  # noqa: S101 - for the type checker
    return one.manifest.part


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
