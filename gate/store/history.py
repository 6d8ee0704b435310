"""The verdicts of a store over time, only ever appended: one JSON line a run, or one object in a remote store."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.errors import EvaluationError, SampleError
from gate.files import writing
from gate.store.local import Store
from gate.store.remote import RemoteStore

HISTORY = "history.jsonl"
_TRIES = 20
"""Runs that may come in between before a run that depends on none of them gives up."""


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


class History(Protocol):
    """The runs of a store."""

    def read(self, series: str | None = None) -> list[Record]:
        """Return the runs of a series, or of all, oldest first."""

    def lock(self) -> AbstractContextManager[object]:
        """Return what to hold from `read` to `append`."""

    def append(self, record: Record, after: int | None) -> None:
        """Add a run; `after` is the number of earlier runs of its series that its level depends on, None for none."""


def open_history(store: Store) -> History:
    """Return the history of a store, local or remote."""
    return RemoteHistory(store) if isinstance(store, RemoteStore) else LocalHistory(store.root)


class LocalHistory:
    """The history in a folder: see `read_history` and `append_history`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, series: str | None = None) -> list[Record]:
        """Return the runs of a series, or of all, oldest first."""
        return read_history(self._root, series)

    def lock(self) -> AbstractContextManager[object]:
        """Return the lock to hold from `read` to `append`."""
        return history_lock(self._root)

    def append(self, record: Record, after: int | None) -> None:  # noqa: ARG002 - the lock sees to that
        """Add a run; the lock has kept others from coming in between."""
        append_history(self._root, [record])


class RemoteHistory:
    """The history in a remote store: one object a run, numbered within its series.

    Nobody can hold a lock there. Instead a number is taken in one step: of two runs that spent the alpha of the same
    number, the second is told so, and its verdict does not count.
    """

    def __init__(self, store: RemoteStore) -> None:
        self._store = store

    def read(self, series: str | None = None) -> list[Record]:
        """Return the runs of a series, or of all, oldest first.

        Raises
        ------
        SampleError
            An object is not a record.
        EvaluationError
            The store cannot be reached.
        """
        if series is None:
            every = [record for one in self._store.series() for record in self.read(one)]
            return sorted(every, key=lambda record: record.time)
        records = []
        for number, content in self._store.slots(series):
            try:
                records.append(Record.model_validate_json(content))
            except ValidationError as error:
                raise SampleError(
                    f"{self._store.url}/history/{series}: run {number} is not a record: {error.errors()[0]['msg']}.",
                    "Restore the object, or move the folder away to start the history (and alpha spending) anew.",
                ) from None
        return records

    def lock(self) -> AbstractContextManager[object]:
        """Return nothing to hold."""
        return nullcontext()

    def append(self, record: Record, after: int | None) -> None:
        """Add a run where this process may write.

        Raises
        ------
        EvaluationError
            Another run was added since `after` runs were read, or the store cannot be written.
        """
        if not self._store.policy.allowed:
            return
        content = record.model_dump_json().encode() + b"\n"
        for _ in range(_TRIES):
            numbers = self._store.numbers(record.series)
            if after is not None and len(numbers) != after:
                break
            if self._store.take_slot(record.series, max(numbers, default=0) + 1, content):
                return
        raise EvaluationError(
            f"{self._store.url}: another run of this series was added while this one was judged; both spent the same "
            "part of alpha, and this verdict does not count.",
            "Run again; runs of one series should not overlap (`concurrency:` in the workflow).",
        )
