"""Partial sets: the finished data files of an interrupted evaluation, from which the same command resumes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.common.canonical import digest
from gate.common.files import remove, write_text, writing
from gate.errors import GateError, SampleError
from gate.store import SampleSet
from gate.store.manifest import DataFile, Manifest
from gate.store.sample_set import read_data_file
from gate.store.trust import KEY, Role, WorkSeal
from gate.store.writer import JOURNAL, JOURNAL_TEMPORARY, finish_set, refuse_other, restore, write_data_file


class FinishedFile(BaseModel):
    """A data file on disk: its items, cost (seconds of work, tokens) and scoring method, if the engine names one."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    data_file: DataFile = Field(alias="shard")
    items: int = Field(ge=1)
    seconds: float = Field(ge=0)
    tokens_in: int = Field(ge=0)
    tokens_out: int = Field(ge=0)
    method: str = ""


class _Journal(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    started: str
    settings: dict[str, str]
    finished: dict[int, FinishedFile]
    signature: str = ""

    def text(self) -> str:
        """Return the JSON text of everything but the signature."""
        return json.dumps(self.model_dump(by_alias=True, exclude={"signature"}), indent=1, sort_keys=True)


class PartialSet:
    """A set being written: finished data files in a hidden folder beside `folder`, listed with hashes in a journal.

    The name of the hidden folder depends on the settings, so that data files with other settings are never mixed in.
    Those stay in their own folder until this set is complete. Use it as a context manager, under the set's lock.
    However it ends before `finish` (an error, Ctrl-C, `kill -9`, a power cut), the next partial set with the same
    settings resumes from the data files added so far. An older set in `folder` is untouched until `finish`.

    Parameters
    ----------
    folder : Path
        Folder of the complete set.
    settings : mapping of str to str
        Everything that the rows depend on, by names that messages show.
    sizes : list of int
        Number of items in each data file.
    message : callable
        Receives messages about what is resumed, evaluated again, or ignored.
    role : {"candidate", "baseline"}
        Decides whether unfinished work without a valid signature is resumed; see `gate.store.trust.WorkSeal`.

    Raises
    ------
    SampleError
        `folder` holds something other than a sample set.
    EvaluationError
        The folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        sizes: list[int],
        message: Callable[[str], None],
        role: Role = "candidate",
    ) -> None:
        refuse_other(folder)
        restore(folder)
        self._folder = folder
        self._sizes = sizes
        self._message = message
        self._role = role
        self._seal = WorkSeal(role)
        self._partial = folder.parent / f"{_prefix(folder)}{digest(dict(settings))[:12]}"
        self._settings = dict(settings)
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._finished: dict[int, FinishedFile] = {}
        if self._partial.is_symlink():
            remove(self._partial)
        if self._partial.exists():
            self._resume()
        else:
            self._explain_others()
        with writing(self._partial):
            self._partial.mkdir(parents=True, exist_ok=True)
        self._write_journal()

    def __enter__(self) -> PartialSet:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or not self._partial.exists():
            return
        if not self._finished:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        kept = f"{self.items} of {sum(self._sizes)} items are kept; run the same command to resume."
        if isinstance(error, GateError):
            error.hint = f"{error.hint} {kept}" if error.hint else kept
        else:
            self._message(f"{self._folder.name}: {kept}")

    @property
    def items(self) -> int:
        """Number of items whose rows are on disk."""
        return sum(file.items for file in self._finished.values())

    @property
    def missing(self) -> list[int]:
        """Indices of the data files still to be written, in order."""
        return [index for index in range(len(self._sizes)) if index not in self._finished]

    @property
    def finished(self) -> list[FinishedFile]:
        """The data files on disk, in order."""
        return [self._finished[index] for index in sorted(self._finished)]

    def add(self, index: int, table: pa.Table, seconds: float, method: str = "") -> None:
        """Write data file `index` and record it in the journal; both are on disk when the call returns.

        Raises
        ------
        EvaluationError
            The disk is full or the folder cannot be written.
        """
        tokens = [sum(filter(None, table.column(name).to_pylist())) for name in ("tokens_in", "tokens_out")]
        self._finished[index] = FinishedFile(
            data_file=write_data_file(self._partial, index, table),
            items=self._sizes[index],
            seconds=seconds,
            tokens_in=tokens[0],
            tokens_out=tokens[1],
            method=method,
        )
        self._write_journal()

    def drop_other_methods(self, method: str) -> None:
        """Drop data files whose scoring method differs from `method`; an empty method matches all."""
        other = [index for index, file in self._finished.items() if method and file.method not in ("", method)]
        if other:
            previous = self._finished[other[0]].method
            self._message(
                f"{self._folder.name}: {len(other)} data file(s) are evaluated again: scored with {previous}, "
                f"now with {method}"
            )
        for index in other:
            del self._finished[index]
        self._write_journal()

    def read(self, index: int) -> pa.Table:
        """Read the rows of a data file on disk.

        Raises
        ------
        SampleError
            The file was altered since it was written.
        """
        return read_data_file(self._partial, self._finished[index].data_file)

    def finish(self, manifest: Manifest) -> SampleSet:
        """Move the complete set to its folder, in place of an older one, and remove partial sets of other settings."""
        if manifest.stopped_of is None and self.missing:
            raise AssertionError(f"data files {self.missing} are missing")
        kept = {data_file.file for data_file in manifest.data_files}
        # a resumed evaluation may have got further than where this one stopped early
        for file in self.finished:
            if file.data_file.file not in kept:
                (self._partial / file.data_file.file).unlink()
        # a baseline is signed when it is published
        sign = partial(self._seal.sign, self._folder) if self._role == "candidate" else None
        sample_set = finish_set(self._partial, self._folder, manifest, sign)
        # readers ignore the journal that a writer killed right here would leave
        with suppress(OSError):
            (self._folder / JOURNAL).unlink()
        for other in self._others():
            with suppress(OSError):
                remove(other)
        return sample_set

    def _resume(self) -> None:
        """Keep the data files of the journal that are intact."""
        refuse_other(self._partial)
        name = self._folder.name
        try:
            journal = _Journal.model_validate_json((self._partial / JOURNAL).read_bytes())
            if journal.settings != self._settings:
                raise SampleError("it was started with different settings")
            if not self._seal.accepts(self._folder, journal.text().encode(), journal.signature):
                raise SampleError(
                    f"its progress file is not signed with this machine's key; set {KEY} to resume on another machine"
                )
        except (OSError, ValidationError, SampleError) as error:
            reason = "its progress file, journal.json, is damaged" if isinstance(error, ValidationError) else str(error)
            self._message(f"{name}: the interrupted run cannot be resumed ({reason}); starting over")
            with writing(self._partial):
                remove(self._partial)
            return
        self._started = journal.started
        damaged = 0
        for index, file in journal.finished.items():
            fits = 0 <= index < len(self._sizes) and file.items == self._sizes[index]
            if fits and _is_intact(self._partial / file.data_file.file, file.data_file):
                self._finished[index] = file
            else:
                damaged += 1
        if damaged:
            self._message(f"{name}: {damaged} damaged data file(s) of the interrupted run are evaluated again")
        if self._finished:
            total = sum(self._sizes)
            self._message(f"{name}: resuming with {self.items} of {total} items done (started {journal.started})")

    def _explain_others(self) -> None:
        """Report why interrupted runs with other settings are not resumed."""
        for other in self._others():
            try:
                journal = _Journal.model_validate_json((other / JOURNAL).read_bytes())
            except (OSError, ValidationError):
                continue
            names = sorted({*journal.settings, *self._settings})
            differences = [
                f"{name} {_shorten(journal.settings.get(name))} -> {_shorten(self._settings.get(name))}"
                for name in names
                if journal.settings.get(name) != self._settings.get(name)
            ]
            items = sum(file.items for file in journal.finished.values())
            self._message(
                f"{self._folder.name}: an interrupted run ({items} items, started {journal.started}) has other "
                f"settings ({'; '.join(differences[:4])}{'; ...' if len(differences) > 4 else ''}) and is not resumed; "
                "it is deleted when this set is complete"
            )

    def _others(self) -> list[Path]:
        """Return the partial sets of the same folder with other settings."""
        siblings = sorted(self._folder.parent.iterdir()) if self._folder.parent.is_dir() else []
        prefix = _prefix(self._folder)
        return [path for path in siblings if path.name.startswith(prefix) and path != self._partial]

    def _write_journal(self) -> None:
        journal = _Journal(started=self._started, settings=self._settings, finished=self._finished)
        signature = self._seal.sign(self._folder, journal.text().encode())
        text = journal.model_copy(update={"signature": signature}).model_dump_json(by_alias=True, indent=1)
        # a fixed name: the lock allows one writer, and a killed one leaves nothing under another name
        write_text(self._partial / JOURNAL, text, temporary=self._partial / JOURNAL_TEMPORARY)


def _prefix(folder: Path) -> str:
    return f".{folder.name}.partial-"


def _is_intact(path: Path, data_file: DataFile) -> bool:
    with suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest() == data_file.sha256
    return False


def _shorten(value: str | None) -> str:
    """Shorten a hash to 12 characters and other text to 60."""
    if value is None:
        return "(none)"
    return value[:12] if re.fullmatch(r"[0-9a-f]{64}", value) else value[:60]
