"""A store that several machines share, behind a URL: the baselines and the history; each machine has a local mirror."""

from __future__ import annotations

import hashlib
import importlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gate.caches import cache_folder
from gate.errors import ConfigError, EvaluationError, GateError, SampleError
from gate.files import write_bytes, writing
from gate.store.local import MANIFEST, SampleSet, Store, open_set
from gate.store.lock import one_writer
from gate.store.trust import WritePolicy, write_policy
from gate.store.writer import put_in_place, refuse_other, restore

_LONGEST_FETCH = 600.0
"""Seconds that a second job on the same machine waits for the first one's fetch."""
_EXTRAS = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}


def open_store(place: str, base: Path, say: Callable[[str], None] = lambda _: None) -> Store:
    """Open the store that `samples.store` of gate.yml names. A remote one is not asked anything yet.

    Parameters
    ----------
    place : str
        A folder, or a URL.
    base : Path
        Where a relative folder starts.
    say : callable
        Told of what is fetched, uploaded and not uploaded.

    Raises
    ------
    ConfigError
        A URL of another kind, or with credentials in it; its library is not installed.
    SampleError
        The store was written under another schema version.
    """
    return RemoteStore(place, say) if "://" in place else Store(base / place)


class RemoteStore(Store):
    """A store behind s3://, gs:// or hf://, mirrored in a local folder.

    The remote store is the truth: a local set counts only where its manifest is the remote one's, byte for byte, and
    its data files have the hashes that the manifest names. Remote data files are named after their hash and never change; the
    manifest is uploaded last, so readers see the older set or the newer one, whole.

    Where this process may not write (see `write_policy`), what it evaluates stays in a mirror of its own, which runs
    that may write never look at.

    Raises
    ------
    ConfigError
        See `open_store`.
    """

    def __init__(
        self, url: str, say: Callable[[str], None] = lambda _: None, policy: WritePolicy | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.policy = write_policy() if policy is None else policy
        self._say = say
        self._files, self._path = _file_system(self.url)
        super().__init__(_mirror(self.url, self.policy.allowed))

    def find(self, folder: Path, fingerprint: str, task_fingerprint: str) -> SampleSet | None:
        """Return the complete set of that place, fetched where the mirror does not hold it; None where there is none.

        Raises
        ------
        SampleError
            The set is damaged, altered, not signed as it should be, or of another model or task.
        EvaluationError
            The store cannot be reached.
        """
        content = self._read(f"{self._place(folder)}/{MANIFEST}")
        if content is not None:
            self._fetch(folder, content)
            return super().find(folder, fingerprint, task_fingerprint)
        found = super().find(folder, fingerprint, task_fingerprint)
        if found is not None and self.policy.allowed:
            self.publish(found)  # an earlier upload failed
        return found

    def publish(self, found: SampleSet) -> None:
        """Sign a baseline's set where there is a key, and upload it where this process may.

        Raises
        ------
        EvaluationError
            The store cannot be reached or written.
        """
        super().publish(found)
        place = self._place(found.folder)
        if not self.policy.allowed:
            self._say(f"{place} is not uploaded to {self.url}: {self.policy.reason}")
            return
        if not place.startswith("baseline/"):
            raise AssertionError("only baselines are shared")
        for data_file in found.manifest.data_files:
            target = f"{place}/{data_file.sha256}.parquet"
            content = (found.folder / data_file.file).read_bytes()
            if hashlib.sha256(content).hexdigest() != data_file.sha256:
                raise SampleError(f"{found.folder / data_file.file} was altered since it was written.")
            self._write(target, content)  # even where it is: it may be damaged there
        content = (found.folder / MANIFEST).read_bytes()
        signature = self._signature_file(found.folder)
        if signature.is_file():
            self._write(f"{place}/{_signature_name(content)}", signature.read_bytes())
        self._write(f"{place}/{MANIFEST}", content)
        self._say(f"{place}: uploaded to {self.url}")

    def series(self) -> list[str]:
        """Return the names of all series of runs.

        Raises
        ------
        EvaluationError
            The store cannot be reached.
        """
        with self._reaching("read"):
            self._files.invalidate_cache()
            try:
                names = self._files.ls(f"{self._path}/history", detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in names)

    def numbers(self, series: str) -> list[int]:
        """Return the numbers of the records of a series of runs, in order.

        Raises
        ------
        EvaluationError
            The store cannot be reached.
        """
        with self._reaching("read"):
            self._files.invalidate_cache()
            try:
                names = self._files.ls(f"{self._path}/history/{series}", detail=False)
            except FileNotFoundError:
                return []
        found = (re.search(r"/(\d{6})\.json$", str(name)) for name in names)
        return sorted(int(match[1]) for match in found if match is not None)

    def slots(self, series: str) -> list[tuple[int, bytes]]:
        """Return the records of a series of runs, with their numbers, oldest first.

        Raises
        ------
        EvaluationError
            The store cannot be reached.
        """
        names = {number: self._slot(series, number) for number in self.numbers(series)}
        if not names:
            return []
        with self._reaching("read"):
            contents = self._files.cat(list(names.values()))  # all at once; a dict by name
        return [(number, bytes(contents[name])) for number, name in names.items()]

    def take_slot(self, series: str, number: int, content: bytes) -> bool:
        """Write the record of that number if nobody has; tell whether this call did.

        One step on S3 and Google Cloud Storage; elsewhere two, between which another run could come.

        Raises
        ------
        EvaluationError
            The store cannot be reached or written.
        """
        target = self._slot(series, number)
        with self._reaching("written"):
            self._files.invalidate_cache()
            try:
                self._files.pipe_file(target, content, mode="create")
            except OSError as error:
                taken = isinstance(error, FileExistsError) or "precondition" in str(error).lower()
                if not taken:
                    raise
                return False
        return True

    def _slot(self, series: str, number: int) -> str:
        return f"{self._path}/history/{series}/{number:06d}.json"

    def _fetch(self, folder: Path, content: bytes) -> None:
        """Make the mirror's set that of a remote manifest."""
        with one_writer(folder, self._say, wait=_LONGEST_FETCH):
            restore(folder)
            if _holds(folder, content):
                return
            refuse_other(folder)
            place = self._place(folder)
            with writing(folder):
                temporary = Path(
                    tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent)
                )
            try:
                with writing(temporary):
                    temporary.chmod(0o755)
                    write_bytes(temporary / MANIFEST, content)
                for data_file in open_set(temporary, data_files=False).manifest.data_files:
                    data = self._read(f"{place}/{data_file.sha256}.parquet")
                    if data is None or hashlib.sha256(data).hexdigest() != data_file.sha256:
                        wrong = "missing" if data is None else "altered"
                        raise SampleError(
                            f"{self.url}/{place}: the data file {data_file.file} is {wrong}.",
                            "Evaluate the baseline again where the store may be written: `gate baseline --force`.",
                        )
                    with writing(temporary):
                        write_bytes(temporary / data_file.file, data)
                signature = self._read(f"{place}/{_signature_name(content)}")
                if signature is not None:
                    with writing(temporary):
                        write_bytes(self._signature_file(temporary), signature[:1000])
                put_in_place(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            self._say(f"{place}: fetched from {self.url}")

    def _read(self, name: str) -> bytes | None:
        with self._reaching("read"):
            try:
                return bytes(self._files.cat_file(f"{self._path}/{name}"))
            except FileNotFoundError:
                return None

    def _write(self, name: str, content: bytes) -> None:
        with self._reaching("written"):
            self._files.pipe_file(f"{self._path}/{name}", content)

    @contextmanager
    def _reaching(self, what: str) -> Iterator[None]:
        try:
            yield
        except GateError:
            raise
        except Exception as error:  # each service has its own errors, and not all are OSError
            raise EvaluationError(
                f"samples.store: {self.url} cannot be {what}: {error or type(error).__name__}.",
                "Check the name, the network, and that the job has credentials for the store.",
            ) from error


def _file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    scheme, _, path = url.partition("://")
    if scheme not in _EXTRAS:
        raise ConfigError(
            f"samples.store: {url}: no store of this kind.",
            "Name a folder, or a URL of s3://, gs:// or hf://.",
        )
    if "@" in path.partition("/")[0]:
        raise ConfigError(
            "samples.store: the URL holds credentials.",
            "Give them by the environment, as the service's tools do.",
        )
    try:
        importlib.import_module(_EXTRAS[scheme])
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        raise ConfigError(
            f"samples.store: {url} needs the library {_EXTRAS[scheme]}.",
            f"Install it: pip install 'quantgate[{scheme}]'."
            if scheme != "hf"
            else "pip install huggingface_hub.",
        ) from None
    return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True), path.rstrip("/")


def _mirror(url: str, trusted: bool) -> Path:
    """Return the local folder of a remote store; runs that may not write have another one than those that may."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", url)[:60].strip("-")
    name = f"{slug}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    return cache_folder() / ("stores" if trusted else "stores-read-only") / name


def _signature_name(manifest: bytes) -> str:
    """Name a signature after its manifest: the two may be replaced at different moments."""
    return f"{hashlib.sha256(manifest).hexdigest()}.sig"


def _holds(folder: Path, manifest: bytes) -> bool:
    """Tell whether a folder holds the whole set of a manifest; and its data files are sound."""
    try:
        if (folder / MANIFEST).read_bytes() != manifest:
            return False
        open_set(folder).read()
    except (OSError, SampleError):
        return False
    return True
