"""Writing a sample set: whole, and put in its place in one step."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gate.errors import SampleError
from gate.files import write_bytes, writing
from gate.store.local import MANIFEST, SIGNATURE, SampleSet
from gate.store.manifest import DataFile, Manifest

JOURNAL = "journal.json"
"""What a partial set holds beside its data files; a complete one only where its writer died in its last moment."""


class SetWriter:
    """Writes one set: data files into a temporary folder beside `folder`, then the manifest, then one rename.

    Used as a context manager; leaving it without `finish` (an error, Ctrl-C) removes what was written and
    leaves an older set in `folder` as it was. For rows that are there already; `PartialSet` is for rows that
    cost GPU time.
    """

    def __init__(self, folder: Path) -> None:
        refuse_other(folder)
        self._folder = folder
        self._data_files: list[DataFile] = []
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._temporary = Path(
                tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent)
            )
            self._temporary.chmod(0o755)

    def __enter__(self) -> SetWriter:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    @property
    def data_files(self) -> list[DataFile]:
        """The data files written so far."""
        return list(self._data_files)

    def add(self, table: pa.Table) -> None:
        """Write a table in `SAMPLE_SCHEMA` as the next data file."""
        self._data_files.append(write_data_file(self._temporary, len(self._data_files), table))

    def finish(self, manifest: Manifest) -> SampleSet:
        """Write the manifest and put the set in its place, instead of an older one."""
        write_manifest(self._temporary, manifest)
        put_in_place(self._temporary, self._folder)
        return SampleSet(self._folder, manifest)


def write_data_file(folder: Path, index: int, table: pa.Table) -> DataFile:
    """Write a table as the data file of that number; it is on the disk when the call returns.

    Raises
    ------
    EvaluationError
        The disk is full or the place cannot be written.
    """
    path = folder / f"shard-{index:05d}.parquet"
    with writing(path):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        content = sink.getvalue().to_pybytes()
        write_bytes(path, content)
    return DataFile(file=path.name, rows=table.num_rows, sha256=hashlib.sha256(content).hexdigest())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a set's manifest: after its data files, since its presence means that they are complete."""
    path = folder / MANIFEST
    with writing(path):
        write_bytes(path, manifest.model_dump_json(indent=1, by_alias=True).encode() + b"\n")


def put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a complete set to its place; an older set there stays until then.

    Raises
    ------
    EvaluationError
        The place cannot be written; the older set is there again.
    """
    with writing(folder):
        replaced = _older(folder)
        if folder.exists():
            if replaced.exists():
                shutil.rmtree(replaced)
            folder.rename(replaced)
        try:
            temporary.rename(folder)
        except BaseException:
            if replaced.exists():
                replaced.rename(folder)
            raise
        _sync(folder.parent)
        shutil.rmtree(replaced, ignore_errors=True)


def restore(folder: Path) -> None:
    """Put an older set back that a writer had moved aside when it was killed, right before the new one took its place.

    Call it under the set's lock.
    """
    replaced = _older(folder)
    if not replaced.exists():
        return
    with writing(folder):
        if folder.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(folder)


def refuse_other(folder: Path) -> None:
    """Refuse to replace anything but a sample set, whole or damaged: it would be deleted.

    Raises
    ------
    SampleError
        The folder holds other files, or is one.
    """
    if not folder.exists():
        return
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else [folder.name]
    ours = (MANIFEST, SIGNATURE, JOURNAL, f"{JOURNAL}.tmp")
    other = [name for name in names if name not in ours and not re.fullmatch(r"shard-\d{5}\.parquet", name)]
    if other:
        raise SampleError(
            f"{folder} is not a sample set (it holds {', '.join(other[:3])}) and is not replaced.",
            "Name another place for the samples.",
        )


def _older(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"


def _sync(folder: Path) -> None:
    """Make the folder's entries survive a power cut, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
