"""llama.cpp's own server, and the trained tiny model that servers with several protocols serve."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.opened import open_model

from gate.demo.models import find_gguf
from gate.engines import Engine


@pytest.fixture(scope="session")
def weights(trained_model: Path) -> Path:
    return trained_model


@pytest.fixture(scope="session")
def plain(weights: Path) -> Engine:
    """The transformers engine with the same weights."""
    return open_model(weights)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Start llama.cpp's server with a 4-bit SmolLM2, and yield its base URL once the model is loaded."""
    script = Path(__file__).parents[1] / "support" / "llamacpp_server.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(find_gguf())],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    deadline = threading.Timer(120, process.kill)  # bounds the wait for the first line
    deadline.start()
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        deadline.cancel()
        assert address.startswith("http://"), "the server did not start"
        yield f"{address}/v1"
    finally:
        deadline.cancel()
        process.kill()
        process.wait()
