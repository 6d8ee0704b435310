"""Ownership of the files that a container action writes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gate.config import LoadedConfig


def give_to_owner(root: str | None, paths: Iterable[Path]) -> None:
    """Give root's files at `paths` to the owner of the folder `root`, and the folders between them and `root`.

    GitHub runs container actions as root, in a workspace and a home folder of the runner's user. The runner could not
    delete files that root left there. Paths outside of `root` are left alone.
    """
    if not root or not hasattr(os, "getuid") or os.getuid() != 0:
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: a loop of symbolic links
        top = Path(root).resolve()
        owner = top.stat()
        if owner.st_uid == 0:
            return
        for path in (path.resolve() for path in paths):  # a symbolic link may lead out of the workspace
            parents = [parent for parent in path.parents if parent.is_relative_to(top)]
            for file in [*path.rglob("*"), path, *parents] if parents else []:
                with suppress(OSError):
                    if file.lstat().st_uid == 0:
                        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)


def written_paths(loaded: LoadedConfig) -> list[Path]:
    """Return the report files and the local store that a run with this configuration writes."""
    config = loaded.config
    names = list(config.report.files.values())
    if "://" not in config.samples.store:
        names.append(config.samples.store)
    return [loaded.folder / name for name in names]
