"""The marker file of an evaluation: an interrupted run finds it and takes its own complete sets from the store.

A run of several candidates has one each. Before it removes them, it lists them in one file, so that they cease to count
at the same time: a run that is killed in between is over, and not half of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from gate.app.models import LocatedModel
from gate.app.suite import Suite
from gate.common.canonical import digest
from gate.common.files import write_text
from gate.store import SampleSet

RUNNING = ".running"
_ENDED = ".ended"


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


def remove_markers(markers: Sequence[Path]) -> None:
    """Remove the markers of a run that is over."""
    if len(markers) > 1:
        ended = markers[0].with_suffix(_ENDED)
        write_text(ended, "".join(f"{marker.name}\n" for marker in markers))
        _remove_listed(ended)
    for marker in markers:
        marker.unlink(missing_ok=True)


def is_resumed(marker: Path) -> bool:
    """Return whether a run with this marker was interrupted; what a run left that is over is removed."""
    for ended in marker.parent.glob(f".*{_ENDED}"):
        if ended.is_file() and marker.name in _listed(ended):
            _remove_listed(ended)
    return marker.is_file()


def _listed(ended: Path) -> list[str]:
    return ended.read_text(encoding="utf-8", errors="replace").split()


def _remove_listed(ended: Path) -> None:
    for name in _listed(ended):
        if name == Path(name).name and name.endswith(RUNNING):  # the file may have been planted
            ended.with_name(name).unlink(missing_ok=True)
    ended.unlink(missing_ok=True)


def started_at(marker: Path) -> str:
    """Return when the run of a marker file started: now, or earlier if an interrupted run is being resumed."""
    if marker.is_file():
        return marker.read_text(encoding="utf-8").strip()
    # as precise as `Manifest.created`, with which it is compared: two runs may fit into one second
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    write_text(marker, now)
    return now
