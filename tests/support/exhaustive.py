"""Parameters of a test of which only some run in the suite; all run with `-m exhaustive`."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import pytest


def mostly_exhaustive(values: Iterable[Any], often: Container[Any]) -> list[Any]:
    """Return pytest parameters; those that are not in `often` have the marker `exhaustive`."""
    return [value if value in often else pytest.param(value, marks=pytest.mark.exhaustive) for value in values]
