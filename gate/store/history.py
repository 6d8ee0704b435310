"""The verdicts of a store over time, append-only: a line per run in a folder, an object per run in a remote store."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.common.files import writing
from gate.errors import EvaluationError, SampleError
from gate.store.local import Store
from gate.store.lock import hold
from gate.store.objects import ObjectStorage
from gate.store.remote import RemoteStore
from gate.store.trust import KEY, sign_record, store_key

HISTORY = "history.jsonl"
_RESTORE = "Restore it, or move the whole history away to restart it (and alpha spending)."
_LOCK_WAIT = 600.0  # seconds; a run holds the lock while it decides and writes its reports
_ATTEMPTS = 20
"""Attempts to append a run that does not depend on earlier ones while other runs are appended."""


class RecordedEvidence(BaseModel):
    """The e-value of a run under `alpha_spending: {kind: evalue}`.

    Attributes
    ----------
    log_e_value : float
        Natural logarithm of the e-value of the run alone.
    planned_runs : int
        Runs of a period, which share alpha.
    items : list of str
        The smallest hashes of the items' ids.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    log_e_value: float
    planned_runs: int = Field(ge=1)
    items: list[str]


class Record(BaseModel):
    """One run, or one candidate of a run with several.

    Attributes
    ----------
    series : str
        Runs of one series test the same thing: same tasks, rule, margin and spending policy.
    alpha : float
        Level of the run: its final test and early stopping together.
    p_value : float
        Adjusted over the candidates of the run.
    name : str or None
        Name of the candidate where the run has several.
    run : str or None
        Equal for the candidates of one run; None for a run with one candidate.
    evidence : RecordedEvidence or None
        Only with e-values; `p_value` is then that of the series, 1 / its evidence.
    signature : str or None
        Of the record and its number within its series, where `GATE_STORE_KEY` is set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    time: str
    series: str
    verdict: str
    p_value: float = Field(ge=0, le=1)
    alpha: float = Field(gt=0, lt=1)
    drop: float
    flip_rate: float
    baseline: str
    candidate: str
    name: str | None = None
    run: str | None = None
    evidence: RecordedEvidence | None = None
    signature: str | None = None

    def signed(self, number: int) -> Record:
        """Return the record with its signature as number `number` of its series; unchanged without a key."""
        key = store_key()
        if key is None:
            return self
        return self.model_copy(update={"signature": sign_record(key, self.series, number, self._content())})

    def _content(self) -> bytes:
        return self.model_dump_json(exclude_none=True, exclude={"signature"}).encode()

    def check(self, number: int, where: str) -> None:
        """Raise a SampleError if there is a key and the record is not signed with it as this number of its series."""
        if store_key() is not None and self.signed(number).signature != self.signature:
            raise SampleError(
                f"{where} is not signed with the key in {KEY} as run {number} of its series: it was forged, altered, "
                "moved, or written without the key.",
                "Find out who wrote it. To restart the history (and alpha spending), move it away.",
            )


def runs_of(records: Sequence[Record]) -> list[list[Record]]:
    """Return the records of each run, oldest run first."""
    runs: dict[object, list[Record]] = {}
    for number, record in enumerate(records):
        runs.setdefault(number if record.run is None else record.run, []).append(record)
    return list(runs.values())


def pvalues_of_runs(records: Sequence[Record]) -> list[float]:
    """Return the p-value of each run, oldest first: that of "no candidate is worse", the smallest adjusted one."""
    return [min(record.p_value for record in run) for run in runs_of(records)]


def open_history(store: Store) -> LocalHistory | RemoteHistory:
    """Return the history of a store, local or remote."""
    if isinstance(store, RemoteStore):
        return RemoteHistory(store.objects, store.policy.allowed)
    return LocalHistory(store.root)


def _parse(content: str | bytes, where: str) -> Record:
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        raise SampleError(
            f"{where} is not a record of a run: {error.errors()[0]['msg']}.",
            _RESTORE,
        ) from None


class LocalHistory:
    """The history in a folder: one JSON line per run."""

    def __init__(self, root: Path) -> None:
        self._path = root / HISTORY

    def read(self, series: str | None = None) -> list[Record]:
        """Return the runs of a series, or of all series, oldest first.

        Raises
        ------
        SampleError
            A record is damaged. A history that lost records would spend the same alpha twice.
        """
        if not self._path.exists():
            return []
        if not self._path.is_file():
            raise SampleError(f"{self._path} is not a regular file.", _RESTORE)
        try:
            lines = self._path.read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise SampleError(f"{self._path} is not UTF-8 text (byte {error.start}).", _RESTORE) from None
        except OSError as error:
            raise SampleError(f"{self._path} cannot be read: {error.strerror}.", "Check its permissions.") from None
        records = []
        numbers: Counter[str] = Counter()
        for line_number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{self._path}:{line_number}"
            record = _parse(line, where)
            numbers[record.series] += 1
            if series in (None, record.series):
                record.check(numbers[record.series], where)
                records.append(record)
        return records

    def lock(self) -> AbstractContextManager[object]:
        """Return a lock to hold from `read` to `append`, so that two runs do not spend the same alpha."""
        path = self._path.with_name(f"{HISTORY}.lock")
        return hold(path, f"{self._path} is in use", _LOCK_WAIT)

    def append(self, record: Record, after: int | None = None) -> None:  # noqa: ARG002 - the lock ensures it
        """Append a run, signed if there is a key; its line is on disk when the call returns."""
        if store_key() is not None:
            record = record.signed(len(self.read(record.series)) + 1)
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # a link could point to any file that this process may write
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(self._path, flags, 0o666), "r+b", buffering=0) as handle:
                size = handle.seek(0, os.SEEK_END)
                line = json.dumps(record.model_dump(exclude_none=True)) + "\n"
                if size and os.pread(handle.fileno(), 1, size - 1) != b"\n":  # an editor removed the last line break
                    line = "\n" + line
                try:
                    _write_all(handle.fileno(), line.encode())
                    os.fsync(handle.fileno())
                except OSError:
                    # later runs would refuse a file that ends in half a line
                    with suppress(OSError):
                        os.ftruncate(handle.fileno(), size)
                    raise


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


class RemoteHistory:
    """The history in a remote store: one object per run, numbered within its series.

    Object storage has no locks. Instead, a run's number is claimed atomically: of two runs that spent the alpha of the
    same number, the second fails, and its verdict does not count.
    """

    def __init__(self, objects: ObjectStorage, may_write: bool) -> None:
        self._objects = objects
        self._may_write = may_write

    def read(self, series: str | None = None) -> list[Record]:
        """Return the runs of a series, or of all series, oldest first; errors as in `LocalHistory.read`."""
        if series is None:
            records = [record for name in self._objects.list("history") for record in self.read(name)]
            return sorted(records, key=lambda record: record.time)
        numbers = self._numbers(series)
        names = [_object_name(series, number) for number in numbers]
        contents = self._objects.read_many(names)
        records = []
        for name, number, content in zip(names, numbers, contents, strict=True):
            where = f"{self._objects.url}/{name}"
            record = _parse(content, where)
            if record.series != series:
                raise SampleError(f"{where} is a record of another series.", _RESTORE)
            record.check(number, where)
            records.append(record)
        return records

    def lock(self) -> AbstractContextManager[object]:
        """Return a context that does nothing; `append` detects a concurrent run instead."""
        return nullcontext()

    def append(self, record: Record, after: int | None) -> None:
        """Append a run, if this process may write.

        `after` is the number of earlier records of the series that the run's level depends on; None if it depends on
        none.

        Raises
        ------
        EvaluationError
            The store cannot be written, or another run was appended since `after` runs were read.
        """
        if not self._may_write:
            return
        for _ in range(_ATTEMPTS):
            numbers = self._numbers(record.series)
            if after is not None and len(numbers) != after:
                break
            number = max(numbers, default=0) + 1
            content = record.signed(number).model_dump_json(exclude_none=True).encode() + b"\n"
            if self._objects.create(_object_name(record.series, number), content):
                return
        raise EvaluationError(
            f"{self._objects.url}: another run of this series was added during this one; both spent the same "
            "alpha, and this verdict does not count.",
            "Run again. Runs of one series must not overlap (`concurrency:` in the workflow).",
        )

    def _numbers(self, series: str) -> list[int]:
        """Return the numbers of the runs of a series, in order."""
        matches = (re.fullmatch(r"(\d{6})\.json", name) for name in self._objects.list(f"history/{series}"))
        return [int(match[1]) for match in matches if match is not None]


def _object_name(series: str, number: int) -> str:
    return f"history/{series}/{number:06d}.json"
