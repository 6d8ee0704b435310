"""Write a sample set into a temporary folder and move it to its place atomically."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from gate.common.files import remove, remove_stale, write_bytes, writing
from gate.errors import SampleError
from gate.store.manifest import MANIFEST, DataFile, Manifest
from gate.store.sample_set import SampleSet
from gate.store.trust import SIGNATURE

JOURNAL = "journal.json"
"""File of a partial set; a complete set has it only if its writer was killed at the last moment."""
JOURNAL_TEMPORARY = f"{JOURNAL}.tmp"


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Create a temporary folder beside `folder` for a set that will replace it; remove it on exit.

    Raises
    ------
    SampleError
        `folder` holds something other than a sample set.
    EvaluationError
        The temporary folder cannot be created.
    """
    refuse_other(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(folder)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        with writing(temporary):
            temporary.chmod(0o755)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_data_file(folder: Path, index: int, table: pa.Table) -> DataFile:
    """Write a table as data file `index`; it is on disk when the call returns.

    Raises
    ------
    EvaluationError
        The disk is full or the folder cannot be written.
    """
    import pyarrow.parquet as pq  # see `gate.store.sample_set.read_data_file`

    path = folder / f"shard-{index:05d}.parquet"
    with writing(path):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        content = sink.getvalue().to_pybytes()
        write_bytes(path, content)
    return DataFile(file=path.name, rows=table.num_rows, sha256=hashlib.sha256(content).hexdigest())


def finish_set(
    temporary: Path, folder: Path, manifest: Manifest, sign: Callable[[bytes], str] | None = None
) -> SampleSet:
    """Write the manifest beside the data files, which makes the set complete, and move the set to its folder.

    `sign` returns the signature of the manifest's bytes, which is written as well.
    """
    path = temporary / MANIFEST
    content = manifest.model_dump_json(indent=1, by_alias=True).encode() + b"\n"
    with writing(path):
        if sign is not None:
            write_bytes(temporary / SIGNATURE, sign(content).encode() + b"\n")
        write_bytes(path, content)
    put_in_place(temporary, folder)
    return SampleSet(folder, manifest)


def put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a complete set to its folder; an older set stays there until then.

    Raises
    ------
    EvaluationError
        The folder cannot be written; the older set is restored.
    """
    with writing(folder):
        older = _older(folder)
        if folder.exists():
            remove(older)
            folder.rename(older)
        try:
            temporary.rename(folder)
        except BaseException:
            if older.exists():
                older.rename(folder)
            raise
        _sync(folder.parent)
        with suppress(OSError):
            remove(older)


def restore(folder: Path) -> None:
    """Restore the older set, under its lock, if a writer was killed between moving it aside and replacing it."""
    older = _older(folder)
    if not older.exists():
        return
    with writing(folder):
        if folder.exists():
            remove(older)
        else:
            older.rename(folder)


def refuse_other(folder: Path) -> None:
    """Raise a SampleError if the folder holds anything but a sample set, which a new set would delete."""
    if not folder.exists():
        return
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else [folder.name]
    ours = (MANIFEST, SIGNATURE, JOURNAL, JOURNAL_TEMPORARY)
    other = [name for name in names if name not in ours and not re.fullmatch(r"shard-\d{5}\.parquet", name)]
    if other:
        raise SampleError(
            f"{folder} is not a sample set (it holds {', '.join(other[:3])}) and is not replaced.",
            "Name another folder for the samples.",
        )


def _older(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"


def _sync(folder: Path) -> None:
    """Flush the folder's entries to disk where the system can."""
    with suppress(OSError):  # Windows cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
