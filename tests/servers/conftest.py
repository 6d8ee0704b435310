"""The trained tiny model, which servers with several protocols serve, and the engine that scores it here."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.opened import open_model

from gate.engines import Engine


@pytest.fixture(scope="session")
def weights(trained_model: Path) -> Path:
    return trained_model


@pytest.fixture(scope="session")
def plain(weights: Path) -> Engine:
    """The transformers engine with the same weights."""
    return open_model(weights)
