"""Folders in which models and remote stores are cached on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return quantgate's own cache folder, which holds local copies of remote stores.

    `GATE_CACHE` sets its parent; the default is `XDG_CACHE_HOME`, then `~/.cache`.
    """
    parent = os.environ.get("GATE_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(parent).expanduser() / "quantgate"


def all_caches() -> list[Path]:
    """Return every cache folder that a run may write to."""
    from huggingface_hub import constants

    hub = (constants.HF_HOME, constants.HF_HUB_CACHE, constants.HF_XET_CACHE)
    return [cache_folder(), *map(Path, hub)]
