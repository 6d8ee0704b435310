"""Merge the shards of a task that several machines evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gate.app.reporter import Reporter
from gate.config import load_config
from gate.errors import SampleError
from gate.store import SampleSet, Store
from gate.store.manifest import Manifest
from gate.store.merge import merge, read_shards
from gate.store.remote import open_store


def merge_into_folder(folders: Sequence[Path], out: Path, reporter: Reporter) -> list[SampleSet]:
    """Merge shards into `out`, one folder per task.

    Raises
    ------
    SampleError
        A shard is missing, given twice, or of another model or task.
    """
    tasks = read_shards(folders)
    return [_merge(task, sets, out / task, reporter) for task, sets in tasks.items()]


def merge_into_store(folders: Sequence[Path], config_path: Path, reporter: Reporter) -> list[SampleSet]:
    """Merge shards of the baseline into the store of a gate.yml; errors as `merge_into_folder`."""
    tasks = read_shards(folders)
    loaded = load_config(config_path)
    store = open_store(loaded.config.samples.store, loaded.folder, reporter.message)
    store.prepare()
    targets = {task: _stored_at(store, task, sets[0].manifest) for task, sets in tasks.items()}
    merged = []
    for task, sets in tasks.items():
        merged.append(_merge(task, sets, targets[task], reporter))
        store.publish(merged[-1])
    return merged


def _merge(task: str, sets: Sequence[SampleSet], target: Path, reporter: Reporter) -> SampleSet:
    merged = merge(sets, target, reporter.message)
    reporter.message(f"  {task}: {merged.manifest.items} items from {len(sets)} shards")
    return merged


def _stored_at(store: Store, task: str, shard: Manifest) -> Path:
    """Return the folder of the baseline's set in the store, after a check that the shard can be the baseline's."""
    if shard.reference is not None:
        raise SampleError(
            f"task {task}: the shards hold KL divergences from another model, not the distributions that a baseline "
            "stores.",
            "Evaluate them with `gate evaluate --baseline --shard i/n`.",
        )
    model = shard.model
    return store.folder("baseline", model.name, model.fingerprint, task, shard.task_fingerprint)
