"""Task files of every kind, and a tiny model to answer them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.harness_tasks import write_tasks
from support.opened import open_model

from gate.engines import Engine


@pytest.fixture(scope="module")
def own_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    return open_model(tiny_model, dtype="float32")
