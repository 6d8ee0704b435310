"""The objects below a URL of s3://, gs:// or hf://."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gate.errors import ConfigError, EvaluationError, GateError

_LIBRARIES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}


class ObjectStorage:
    """Reads and writes whole objects. Every method raises an EvaluationError if the storage is unavailable.

    Raises
    ------
    ConfigError
        The URL has another scheme or contains credentials, or the library for it is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._files, self._path = _file_system(self.url)

    def read(self, name: str) -> bytes | None:
        """Return an object's content; None if it does not exist."""
        with self._access("read"):
            try:
                return bytes(self._files.cat_file(f"{self._path}/{name}"))
            except FileNotFoundError:
                return None

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """Return the contents of several objects, fetched concurrently."""
        if not names:
            return []
        with self._access("read"):
            contents = self._files.cat([f"{self._path}/{name}" for name in names])
        return [bytes(contents[f"{self._path}/{name}"]) for name in names]

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in place of an existing one."""
        with self._access("written"):
            self._files.pipe_file(f"{self._path}/{name}", content)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists; return whether this call wrote it.

        Atomic on S3 and Google Cloud Storage; on the Hugging Face hub two writers may both succeed.
        """
        with self._access("written"):
            self._files.invalidate_cache()
            try:
                self._files.pipe_file(f"{self._path}/{name}", content, mode="create")
            except OSError as error:
                exists = isinstance(error, FileExistsError) or "precondition" in str(error).lower()
                if not exists:
                    raise
                return False
        return True

    def list(self, folder: str) -> list[str]:
        """Return the names of the objects and folders in a folder, sorted; empty if it does not exist."""
        with self._access("read"):
            self._files.invalidate_cache()
            try:
                paths = self._files.ls(f"{self._path}/{folder}", detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in paths)

    @contextmanager
    def _access(self, action: str) -> Iterator[None]:
        try:
            yield
        except GateError:
            raise
        except Exception as error:  # each service has its own errors, and not all are OSError
            raise EvaluationError(
                f"samples.store: {self.url} cannot be {action}: {error or type(error).__name__}.",
                "Check the name, the network, and that the job has credentials for the store.",
            ) from error


def _file_system(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it."""
    scheme, _, path = url.partition("://")
    if scheme not in _LIBRARIES:
        raise ConfigError(
            f"samples.store: {url}: unsupported scheme {scheme}://.",
            "Name a folder, or a URL of s3://, gs:// or hf://.",
        )
    if "@" in path.partition("/")[0]:
        raise ConfigError(
            "samples.store: the URL contains credentials.",
            "Pass them in the environment, as the service's own tools expect them.",
        )
    try:
        importlib.import_module(_LIBRARIES[scheme])
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        package = "huggingface_hub" if scheme == "hf" else f"'quantgate[{scheme}]'"
        raise ConfigError(
            f"samples.store: {url} needs the library {_LIBRARIES[scheme]}.",
            f"Install it: pip install {package}.",
        ) from None
    return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True), path.rstrip("/")
