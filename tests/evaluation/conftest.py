"""An opened tiny model, and data files of few items."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.evaluations import Opened, opened

from gate.evaluation import plan


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Opened:
    return opened(tiny_model)


@pytest.fixture
def small_data_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write data files of four items; the 24 items of the tiny task make six."""
    monkeypatch.setattr(plan, "ITEMS_PER_DATA_FILE", 4)
