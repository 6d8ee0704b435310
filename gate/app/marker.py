"""The marker file of an evaluation: an interrupted run finds it and takes its own complete sets from the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gate.app.models import LocatedModel
from gate.app.suite import Suite
from gate.common.canonical import digest
from gate.common.files import write_text
from gate.store import SampleSet


def run_id_of(
    suite: Suite,
    model: LocatedModel,
    reference: Sequence[SampleSet],
    shard: tuple[int, int] | None,
    name: str | None,
) -> str:
    """Return an id that is the same whenever the same command evaluates the same model."""
    baseline = [[file.sha256 for file in sample_set.manifest.data_files] for sample_set in reference]
    tasks = [task.fingerprint for task in suite.tasks]
    named = [] if name is None else [name]
    return digest([model.identity.fingerprint, tasks, baseline, list(shard or ()), *named])[:16]


def started_at(marker: Path) -> str:
    """Return when the run of a marker file started: now, or earlier if an interrupted run is being resumed."""
    if marker.is_file():
        return marker.read_text(encoding="utf-8").strip()
    # as precise as `Manifest.created`, with which it is compared: two runs may fit into one second
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    write_text(marker, now)
    return now
