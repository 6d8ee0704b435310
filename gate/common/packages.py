"""Versions of installed packages."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution, or None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
