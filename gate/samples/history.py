"""The verdicts of a store over time: one JSON line a run, only ever appended."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.errors import SampleError
from gate.samples.store import writing

HISTORY = "history.jsonl"


class Record(BaseModel):
    """One run.

    Attributes
    ----------
    series : str
        Runs of one series test the same thing: same tasks, rule, margin and spending policy.
    alpha : float
        Level that the run had.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: str
    series: str
    verdict: str
    p_value: float = Field(ge=0, le=1)
    alpha: float = Field(gt=0, lt=1)
    drop: float
    flip_rate: float
    baseline: str
    candidate: str


def read_history(root: Path, series: str | None = None) -> list[Record]:
    """Return the runs of a store, oldest first; only those of a series where one is given.

    Raises
    ------
    SampleError
        A line is not a record: a history that lost lines would spend alpha twice.
    """
    path = root / HISTORY
    if not path.is_file():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            records.append(Record.model_validate_json(line))
        except ValidationError as error:
            raise SampleError(
                f"{path}:{number} is not a record of a run: {error.errors()[0]['msg']}.",
                "Restore the file, or move it away to start the history (and alpha spending) anew.",
            ) from None
    return [record for record in records if series in (None, record.series)]


def append_history(root: Path, records: Sequence[Record]) -> None:
    """Append runs; each line goes to the disk before the call returns.

    Raises
    ------
    EvaluationError
        The store cannot be written.
    """
    path = root / HISTORY
    with writing(path):
        root.mkdir(parents=True, exist_ok=True)
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("a", encoding="utf-8") as handle:
                handle.write("".join(json.dumps(record.model_dump()) + "\n" for record in records))
                handle.flush()
                os.fsync(handle.fileno())
        except OSError:
            # half a line would make every later run refuse the file
            with suppress(OSError):
                os.truncate(path, size)
            raise


def history_lock(root: Path) -> FileLock:
    """Return the lock to hold from reading the history to appending to it: two runs must not spend the same alpha."""
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / f"{HISTORY}.lock")
