"""The digest of the user's own files that decide scores."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

import yaml

from gate.common.canonical import digest

_DATASET_KEYS = ("dataset_path", "dataset_name", "dataset_kwargs")


def digest_of_files(folders: Sequence[Path], endings: tuple[str, ...]) -> str:
    """Return a short digest of the names and contents of all files below the folders with one of the endings.

    All of them, because a function may call others from any file there.
    """
    files = {
        f"{number}/{path.relative_to(folder).as_posix()}": _content(path)
        for number, folder in enumerate(map(Path.resolve, folders))
        for path in folder.rglob("*")
        if path.is_file() and path.name.endswith(endings)
    }
    return digest(files)[:16]


def _content(path: Path) -> str:
    """Return the hash of a Python or YAML file; without the place of a dataset, which differs between machines."""
    content = path.read_bytes()
    if path.suffix != ".py":
        with contextlib.suppress(yaml.YAMLError, RecursionError):
            node = yaml.compose(content, Loader=yaml.SafeLoader)
            if isinstance(node, yaml.MappingNode):
                node.value = [(key, value) for key, value in node.value if key.value not in _DATASET_KEYS]
                content = yaml.serialize(node).encode()
    return hashlib.sha256(content).hexdigest()
