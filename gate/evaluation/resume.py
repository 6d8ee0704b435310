"""Partial sets: what a stopped evaluation had finished, so that the same command goes on where it was."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.canonical import digest
from gate.errors import GateError, SampleError
from gate.files import write_bytes, writing
from gate.store.local import SampleSet, read_data_file
from gate.store.manifest import DataFile, Manifest
from gate.store.writer import JOURNAL, put_in_place, refuse_other, restore, write_data_file, write_manifest


class Finished(BaseModel):
    """A data file that is on the disk, what it took (seconds of work, tokens), and how the engine scored, where it says."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    data_file: DataFile = Field(validation_alias="shard", serialization_alias="shard")
    items: int = Field(ge=1)
    seconds: float = Field(ge=0)
    tokens_in: int = Field(ge=0)
    tokens_out: int = Field(ge=0)
    method: str = ""


class _Journal(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    started: str
    settings: dict[str, str]
    finished: dict[int, Finished]


class PartialSet:
    """A set in the making: finished data files in a hidden folder beside `folder`, listed with their hashes in a journal.

    The hidden folder is named after the settings, so that data files of other settings are never continued: they wait in
    their own folder, and are removed once this set is complete. A context manager, to be used under the set's lock;
    whatever ends it before `finish` (an error, Ctrl-C, `kill -9`, a power cut), the data files that it had added are
    found again by the next one of the same settings. An older set in `folder` stays as it is until `finish`.

    Parameters
    ----------
    folder : Path
        Where the complete set will be.
    settings : mapping of str to str
        Everything that the numbers depend on, by a name that the user understands.
    items : sequence of int
        Number of items in each data file.
    say : callable
        Told what is continued, what is done again, and what is left aside.

    Raises
    ------
    SampleError
        `folder` holds something else than a sample set.
    EvaluationError
        The place cannot be written.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, str], items: list[int], say: Callable[[str], None]
    ) -> None:
        refuse_other(folder)
        restore(folder)
        self._folder = folder
        self._items = items
        self._say = say
        self._partial = folder.parent / f"{_prefix(folder)}{digest(dict(settings))[:12]}"
        self._settings = dict(settings)
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._finished: dict[int, Finished] = {}
        if self._partial.exists():
            self._go_on()
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
        kept = f"{self.items} of {sum(self._items)} items are kept; the same command goes on from there."
        if isinstance(error, GateError):
            error.hint = f"{error.hint} {kept}" if error.hint else kept
        else:
            self._say(f"{self._folder.name}: {kept}")

    @property
    def items(self) -> int:
        """Number of items whose rows are on the disk."""
        return sum(one.items for one in self._finished.values())

    @property
    def missing(self) -> list[int]:
        """The data files that are still to be made, in order."""
        return [index for index in range(len(self._items)) if index not in self._finished]

    @property
    def finished(self) -> list[Finished]:
        """The data files that are on the disk, in order."""
        return [self._finished[index] for index in sorted(self._finished)]

    def add(self, index: int, table: pa.Table, seconds: float, method: str = "") -> None:
        """Write the rows of data file `index`; they are on the disk, and in the journal, when the call returns.

        Raises
        ------
        EvaluationError
            The disk is full or the place cannot be written.
        """
        tokens = [sum(filter(None, table.column(name).to_pylist())) for name in ("tokens_in", "tokens_out")]
        self._finished[index] = Finished(
            data_file=write_data_file(self._partial, index, table),
            items=self._items[index],
            seconds=seconds,
            tokens_in=tokens[0],
            tokens_out=tokens[1],
            method=method,
        )
        self._write_journal()

    def drop_other_methods(self, method: str) -> None:
        """Forget data files that were scored in another way than `method`; empty fits all."""
        other = [index for index, one in self._finished.items() if method and one.method not in ("", method)]
        if other:
            was = self._finished[other[0]].method
            self._say(
                f"{self._folder.name}: {len(other)} data file(s) are done again: scored by {was}, now by {method}"
            )
        for index in other:
            del self._finished[index]
        self._write_journal()

    def read(self, index: int) -> pa.Table:
        """Read the rows of a data file that is on the disk.

        Raises
        ------
        SampleError
            Its file was altered since.
        """
        data_file = self._finished[index].data_file
        return read_data_file(self._partial / data_file.file, data_file)

    def finish(self, manifest: Manifest) -> SampleSet:
        """Put the complete set in its place, instead of an older one, and remove what other settings left."""
        kept = {data_file.file for data_file in manifest.data_files}
        if manifest.stopped_of is None and self.missing:
            raise AssertionError(f"shards {self.missing} are missing")
        for one in self.finished:  # an earlier call may have come further than where this one stopped
            if one.data_file.file not in kept:
                (self._partial / one.data_file.file).unlink()
        write_manifest(self._partial, manifest)
        put_in_place(self._partial, self._folder)
        # a writer killed before this leaves a file that readers do not look at
        with suppress(OSError):
            (self._folder / JOURNAL).unlink()
        for other in self._others():
            shutil.rmtree(other, ignore_errors=True)
        return SampleSet(self._folder, manifest)

    def _go_on(self) -> None:
        """Take over the data files in the journal whose files are what they were; the others are done again."""
        refuse_other(self._partial)
        name = self._folder.name
        try:
            journal = _Journal.model_validate_json((self._partial / JOURNAL).read_bytes())
            if journal.settings != self._settings:
                raise SampleError("its journal is of other settings")
        except (OSError, ValidationError, SampleError) as error:
            reason = "its journal is damaged" if isinstance(error, ValidationError) else str(error)
            self._say(f"{name}: earlier unfinished work cannot be continued ({reason}); starting again")
            with writing(self._partial):
                shutil.rmtree(self._partial)
            return
        self._started = journal.started
        damaged = 0
        for index, one in journal.finished.items():
            fits = 0 <= index < len(self._items) and one.items == self._items[index]
            if fits and _sound(self._partial / one.data_file.file, one.data_file):
                self._finished[index] = one
            else:
                damaged += 1
        if damaged:
            self._say(f"{name}: {damaged} unfinished data file(s) are damaged and done again")
        if self._finished:
            total = sum(self._items)
            self._say(f"{name}: going on with {self.items} of {total} items done (begun {journal.started})")

    def _explain_others(self) -> None:
        """Say why work that is there is not continued."""
        for other in self._others():
            try:
                journal = _Journal.model_validate_json((other / JOURNAL).read_bytes())
            except (OSError, ValidationError):
                continue
            names = sorted({*journal.settings, *self._settings})
            differs = [
                f"{key} {_short(journal.settings.get(key))} -> {_short(self._settings.get(key))}"
                for key in names
                if journal.settings.get(key) != self._settings.get(key)
            ]
            items = sum(one.items for one in journal.finished.values())
            self._say(
                f"{self._folder.name}: unfinished work of {journal.started} ({items} items) was done under other "
                f"settings ({'; '.join(differs[:4])}{'; ...' if len(differs) > 4 else ''}) and is not continued; it is "
                "removed when this set is complete"
            )

    def _others(self) -> list[Path]:
        prefix = _prefix(self._folder)
        found = sorted(self._folder.parent.iterdir()) if self._folder.parent.is_dir() else []
        return [one for one in found if one.name.startswith(prefix) and one != self._partial]

    def _write_journal(self) -> None:
        journal = _Journal(started=self._started, settings=self._settings, finished=self._finished)
        # a fixed name for the new one: under the lock there is one writer, and a killed one leaves no litter
        temporary = self._partial / f"{JOURNAL}.tmp"
        with writing(self._partial):
            text = json.dumps(journal.model_dump(by_alias=True), indent=1, sort_keys=True)
            write_bytes(temporary, text.encode("utf-8", "replace"))
            temporary.replace(self._partial / JOURNAL)


def _prefix(folder: Path) -> str:
    return f".{folder.name}.partial-"


def _sound(path: Path, data_file: DataFile) -> bool:
    """Tell whether a data file's file is there and is what was written."""
    with suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest() == data_file.sha256
    return False


def _short(value: str | None) -> str:
    """Cut what is a hash to a length that can be told apart, what is a text to one that fits a line."""
    if value is None:
        return "(none)"
    return value[:12] if re.fullmatch(r"[0-9a-f]{64}", value) else value[:60]
