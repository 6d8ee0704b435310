"""Sample sets on disk: Parquet data files and a manifest; a set is complete or it is not one."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from gate.errors import SampleError
from gate.files import write_text, writing
from gate.samples.record import SAMPLE_SCHEMA, SCHEMA_VERSION, ModelSamples, TaskSamples
from gate.store.manifest import DataFile, Manifest
from gate.store.trust import KEY, is_signed, sign, store_key

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
_STORE_FILE = "store.json"


@dataclass(frozen=True)
class SampleSet:
    """A complete set on disk: its folder and its manifest. Rows are read, and checked, by `read`."""

    folder: Path
    manifest: Manifest

    def read(self) -> TaskSamples:
        """Read all rows.

        Raises
        ------
        SampleError
            A data file is missing, cut short or altered.
        """
        tables = [read_data_file(self.folder / data_file.file, data_file) for data_file in self.manifest.data_files]
        table = pa.concat_tables(tables) if tables else SAMPLE_SCHEMA.empty_table()
        about = self.manifest
        return TaskSamples(about.task, about.metric, table, about.facets, about.reference, about.stopped_of)


class Store:
    """The folder that sample sets live in, e.g. `.gate`.

    Layout: `<role>/<model>-<model fingerprint>/<task>-<task fingerprint>/`, role `baseline` or `candidate`:
    what a candidate wrote is never taken for a baseline.

    Raises
    ------
    SampleError
        The store was written under another schema version.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        marker = root / _STORE_FILE
        if marker.is_file():
            try:
                found = json.loads(marker.read_text(encoding="utf-8"))["schema_version"]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise SampleError(
                    f"{marker} is not readable ({error}).", "Move the store away and run again."
                ) from None
            _check_schema(found, root)

    def folder(self, role: str, model: str, fingerprint: str, task: str, task_fingerprint: str) -> Path:
        """Return where the set of a task by a model belongs."""
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.")[-60:] or "model"
        return self.root / role / f"{slug}-{fingerprint[:12]}" / f"{task}-{task_fingerprint[:12]}"

    def find(self, folder: Path, fingerprint: str, task_fingerprint: str) -> SampleSet | None:
        """Return the complete set in a folder of this store, or None where there is none.

        Raises
        ------
        SampleError
            There is one and it is damaged, a shard of one, of another model or task than its folder says, or (where
            there is a key) signed with another one.
        """
        if not (folder / MANIFEST).is_file():
            return None
        found = open_set(folder)
        if (found.manifest.model.fingerprint, found.manifest.task_fingerprint) != (
            fingerprint,
            task_fingerprint,
        ):
            raise SampleError(f"{folder} holds samples of another model or task than its name says.", _AGAIN)
        refuse_shard(found)
        return found if self._trusted(found) else None

    def publish(self, found: SampleSet) -> None:
        """Make a baseline's set known to those who use the store: sign it where there is a key (`GATE_STORE_KEY`).

        Raises
        ------
        EvaluationError
            The store cannot be written.
        """
        key = store_key()
        if key is not None:
            content = (found.folder / MANIFEST).read_bytes()
            write_text(
                self._signature_file(found.folder), sign(key, self._place(found.folder), content) + "\n"
            )

    def _trusted(self, found: SampleSet) -> bool:
        """Check a baseline's signature where there is a key. One without counts as not there: it is made again."""
        key, place = store_key(), self._place(found.folder)
        if key is None or not place.startswith("baseline/"):
            return True
        path = self._signature_file(found.folder)
        if not path.is_file():
            return False
        if not is_signed(
            key, place, (found.folder / MANIFEST).read_bytes(), path.read_text(errors="replace")
        ):
            raise SampleError(
                f"{found.folder} is not signed with the key in {KEY}: it was altered, moved, or signed with another.",
                "Find out who wrote it; then delete the folder and evaluate the baseline again.",
            )
        return True

    def _place(self, folder: Path) -> str:
        """Return a set's place in the store: role, model, task."""
        return folder.relative_to(self.root).as_posix()

    @staticmethod
    def _signature_file(folder: Path) -> Path:
        return folder / SIGNATURE

    def prepare(self) -> None:
        """Create the store's folder and mark its schema version."""
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            marker = self.root / _STORE_FILE
            if not marker.exists():
                write_text(marker, json.dumps({"schema_version": SCHEMA_VERSION}) + "\n")


def open_set(folder: Path, data_files: bool = True) -> SampleSet:
    """Open a sample set and check that it is complete; data file contents are checked when they are read.

    Parameters
    ----------
    folder : Path
    data_files : bool
        Expect the data files beside the manifest.

    Raises
    ------
    SampleError
        No manifest, another schema version, or missing data files.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SampleError(f"{folder} is not a complete sample set: it has no {MANIFEST}.", _AGAIN) from None
    except (OSError, ValueError) as error:
        raise SampleError(f"{path} is not readable: {error}.", _AGAIN) from None
    if isinstance(data, dict):
        _check_schema(data.get("schema_version"), folder)
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SampleError(f"{path} is not a valid manifest: {where}: {first['msg']}.", _AGAIN) from None
    for data_file in manifest.data_files:
        if data_files and not (folder / data_file.file).is_file():
            raise SampleError(f"{folder} is incomplete: {data_file.file} is missing.", _AGAIN)
    if sum(data_file.rows for data_file in manifest.data_files) != manifest.rows:
        raise SampleError(f"{path} does not add up: data files and total disagree on the number of rows.", _AGAIN)
    return SampleSet(folder, manifest)


def refuse_shard(found: SampleSet) -> None:
    """Refuse a set that holds a shard of its task's items.

    Raises
    ------
    SampleError
    """
    shard = found.manifest.shard
    if shard is not None:
        raise SampleError(
            f"{found.folder} is {shard} of task {found.manifest.task}, not the whole set.",
            "Put all shards together first: `gate merge SHARD... -o OUT`.",
        )


def open_sets(path: Path) -> list[SampleSet]:
    """Open the sample set in a folder, or the sets in the folders inside it; empty where there is none.

    Raises
    ------
    SampleError
        A set is damaged.
    """
    folders = (
        [path] if (path / MANIFEST).is_file() else sorted(p.parent for p in path.glob(f"[!.]*/{MANIFEST}"))
    )
    return [open_set(folder) for folder in folders]


def read_sets(path: Path) -> ModelSamples | None:
    """Read a sample set, or a folder of sets of one model, as a side of a comparison; None if there is none.

    Raises
    ------
    SampleError
        A set is damaged or a shard of one, or the folder holds one task twice.
    """
    sets = open_sets(path)
    if not sets:
        return None
    for one in sets:
        refuse_shard(one)
    by_task: dict[str, SampleSet] = {}
    for one in sets:
        other = by_task.setdefault(one.manifest.task, one)
        if other is not one:
            raise SampleError(
                f"{path} holds task {one.manifest.task} twice: {other.folder.name} and {one.folder.name}.",
                "Name one of the two folders, or compare folders that hold each task once.",
            )
    models = {one.manifest.model.fingerprint: one.manifest.model.name for one in sets}
    if len(models) > 1:
        raise SampleError(f"{path} holds sets of {len(models)} models: {', '.join(sorted(models.values()))}.")
    return as_samples(list(by_task.values()))


def as_samples(sets: list[SampleSet]) -> ModelSamples:
    """Read sets of one model as a side of a comparison."""
    model = sets[0].manifest.model
    about = {
        **model.model_dump(),
        "sets": {
            one.manifest.task: {
                "task_fingerprint": one.manifest.task_fingerprint,
                "created": one.manifest.created,
                "seconds": one.manifest.timings.seconds,
                "quantgate": one.manifest.quantgate,
            }
            for one in sets
        },
    }
    return ModelSamples(model.name, {one.manifest.task: one.read() for one in sets}, about)


_AGAIN = "Delete the folder and evaluate again (`gate baseline --force` for a baseline)."


def _check_schema(found: object, where: Path) -> None:
    if found != SCHEMA_VERSION:
        raise SampleError(
            f"{where} has schema version {found}; this quantgate reads version {SCHEMA_VERSION}.",
            "Use the quantgate that wrote it, or name another store and evaluate again.",
        )


def read_data_file(path: Path, data_file: DataFile) -> pa.Table:
    """Read the rows of a data file, after a check of its hash.

    Raises
    ------
    SampleError
        The file is missing, cut short or altered.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SampleError(f"{path} cannot be read: {error}.", _AGAIN) from None
    if hashlib.sha256(content).hexdigest() != data_file.sha256:
        raise SampleError(f"{path} was altered or cut short: its SHA-256 is not the manifest's.", _AGAIN)
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        raise SampleError(f"{path} is not a Parquet file: {error}.", _AGAIN) from None
    if table.schema != SAMPLE_SCHEMA or table.num_rows != data_file.rows:
        raise SampleError(
            f"{path} does not have the columns or the {data_file.rows} rows that it should.", _AGAIN
        )
    return table
