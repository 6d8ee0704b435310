"""Errors of the importers, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gate.errors import SampleError
from gate.importers import read_foreign


def message(path: Path, **options: Any) -> str:
    """Return the error of reading a path, which must name a next step."""
    with pytest.raises(SampleError) as caught:
        read_foreign(path, **options)
    assert caught.value.hint
    return str(caught.value)
