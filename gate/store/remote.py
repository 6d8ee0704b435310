"""A store behind a URL that several machines share; each machine has a local mirror."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from gate.common.caches import cache_folder
from gate.common.files import write_bytes, writing
from gate.errors import SampleError
from gate.store.local import Store
from gate.store.lock import one_writer
from gate.store.manifest import MANIFEST
from gate.store.objects import ObjectStorage
from gate.store.sample_set import SampleSet, open_set, read_manifest
from gate.store.trust import SIGNATURE, WritePolicy, write_policy
from gate.store.writer import put_in_place, restore, staging_folder

_FETCH_TIMEOUT = 600.0
"""Seconds that a second job on the same machine waits for the first job's fetch."""
_MAX_SIGNATURE = 1000  # bytes


def open_store(location: str, base: Path, message: Callable[[str], None] = lambda _: None) -> Store:
    """Open the store that `samples.store` of gate.yml names: a folder, relative to `base`, or a URL.

    A remote store is not contacted yet. `message` receives messages about what is fetched, uploaded or not uploaded.

    Raises
    ------
    ConfigError
        The URL has another scheme or contains credentials, or the library for it is not installed.
    SampleError
        The store has another schema version.
    """
    return RemoteStore(location, message) if "://" in location else Store(base / location)


class RemoteStore(Store):
    """A store behind s3://, gs:// or hf://, mirrored in a local folder.

    The remote store is authoritative: a local set is used only if its manifest equals the remote one byte for byte and
    its data files have the hashes in the manifest. Remote data files are named by their hash and never change. The
    manifest is uploaded last, so that readers see either the older set or the newer one, complete.

    A process that may not write (see `write_policy`) keeps the sets it evaluates in a mirror of its own, which
    processes that may write never read.
    """

    def __init__(
        self, url: str, message: Callable[[str], None] = lambda _: None, policy: WritePolicy | None = None
    ) -> None:
        self.objects = ObjectStorage(url)
        self.policy = write_policy() if policy is None else policy
        self._message = message
        super().__init__(_mirror(self.objects.url, self.policy.allowed))

    def find(self, folder: Path, fingerprint: str, task_fingerprint: str) -> SampleSet | None:
        """Fetch the set in a folder unless the mirror holds it; see `Store.find`."""
        content = self.objects.read(f"{self._relative(folder)}/{MANIFEST}")
        if content is not None:
            self._fetch(folder, content)
            return super().find(folder, fingerprint, task_fingerprint)
        sample_set = super().find(folder, fingerprint, task_fingerprint)
        if sample_set is not None and self.policy.allowed:
            self.publish(sample_set)  # an earlier upload failed
        return sample_set

    def publish(self, sample_set: SampleSet) -> None:
        """Sign a baseline's set if there is a key, and upload it if this process may write."""
        super().publish(sample_set)
        folder = sample_set.folder
        relative = self._relative(folder)
        if not self.policy.allowed:
            self._message(f"{relative} is not uploaded to {self.objects.url}: {self.policy.reason}")
            return
        if not relative.startswith("baseline/"):
            raise AssertionError("only baselines are shared")
        for data_file in sample_set.manifest.data_files:
            content = (folder / data_file.file).read_bytes()
            if hashlib.sha256(content).hexdigest() != data_file.sha256:
                raise SampleError(
                    f"{folder / data_file.file} was altered since it was written.",
                    "Evaluate the baseline again: `gate baseline --force`.",
                )
            # upload even if the object exists: it may be damaged
            self.objects.write(f"{relative}/{data_file.sha256}.parquet", content)
        content = (folder / MANIFEST).read_bytes()
        if (folder / SIGNATURE).is_file():
            self.objects.write(f"{relative}/{_signature_name(content)}", (folder / SIGNATURE).read_bytes())
        self.objects.write(f"{relative}/{MANIFEST}", content)
        self._message(f"{relative}: uploaded to {self.objects.url}")

    def _fetch(self, folder: Path, manifest: bytes) -> None:
        """Replace the mirror's set by the remote one, unless they have the same manifest."""
        with one_writer(folder, self._message, wait=_FETCH_TIMEOUT):
            restore(folder)
            if _is_current(folder, manifest):
                return
            relative = self._relative(folder)
            with staging_folder(folder) as temporary, writing(temporary):
                write_bytes(temporary / MANIFEST, manifest)
                for data_file in read_manifest(temporary).data_files:
                    content = self.objects.read(f"{relative}/{data_file.sha256}.parquet")
                    if content is None or hashlib.sha256(content).hexdigest() != data_file.sha256:
                        raise SampleError(
                            f"{self.objects.url}/{relative}: the data file {data_file.file} is "
                            f"{'missing' if content is None else 'altered'}.",
                            "Evaluate the baseline again where the store may be written: `gate baseline --force`.",
                        )
                    write_bytes(temporary / data_file.file, content)
                signature = self.objects.read(f"{relative}/{_signature_name(manifest)}")
                if signature is not None:
                    write_bytes(temporary / SIGNATURE, signature[:_MAX_SIGNATURE])
                put_in_place(temporary, folder)
            self._message(f"{relative}: fetched from {self.objects.url}")


def _mirror(url: str, may_write: bool) -> Path:
    """Return the local folder of a remote store, one for processes that may write and one for the others."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", url)[:60].strip("-")
    name = f"{slug}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    return cache_folder() / ("stores" if may_write else "stores-read-only") / name


def _signature_name(manifest: bytes) -> str:
    """Name a signature by its manifest's hash, because the two objects are not replaced at the same time."""
    return f"{hashlib.sha256(manifest).hexdigest()}.sig"


def _is_current(folder: Path, manifest: bytes) -> bool:
    """Return whether a folder holds the complete, intact set of a manifest."""
    try:
        if (folder / MANIFEST).read_bytes() != manifest:
            return False
        open_set(folder).read()
    except (OSError, SampleError):
        return False
    return True
