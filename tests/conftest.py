"""Fixtures that several rooms share: tiny real models, and the real data where it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from support.tiny import write_tiny_model

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# the same examples in every run: a change that breaks a property shows in the change's own run
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real checkpoint; copy it before changing it."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def other_tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture and tokenizer with other weights."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "other", seed=1)


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct, the demo's baseline: made once, or taken from QUANTGATE_MODELS; tests with it are slow."""
    from gate.demo.models import write_baseline

    if "QUANTGATE_MODELS" in os.environ:
        return Path(os.environ["QUANTGATE_MODELS"]) / "baseline"
    from filelock import FileLock

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of all workers
    with FileLock(shared / "smollm2.lock"):
        if not (shared / "smollm2").is_dir():
            write_baseline(shared / "smollm2.part")
            (shared / "smollm2.part").rename(shared / "smollm2")
    return shared / "smollm2"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder
