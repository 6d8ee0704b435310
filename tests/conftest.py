"""Fixtures that several packages share: models, a project to run `gate` in, servers, and real data."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.fake_github import FakeGitHub
from support.s3 import Bucket, serve_s3, use_s3
from support.tiny import write_tiny_model, write_tiny_project

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# read when torch is imported: threads only slow down matrices this small, here and in processes that tests start
os.environ.setdefault("OMP_NUM_THREADS", "1")
# as the command `gate` does: objects of imports and models stay alive
gc.set_threshold(100_000, 50, 100)
# the same examples in every run; no deadline, because a busy machine is no error
settings.register_profile("sampled", derandomize=True, deadline=None, max_examples=40)
settings.register_profile("exhaustive", derandomize=True, deadline=None, max_examples=200)


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples Hypothesis draws where a test does not say."""
    settings.load_profile("exhaustive" if "exhaustive" in str(config.getoption("markexpr")) else "sampled")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out exhaustive tests unless they are asked for."""
    if "exhaustive" not in str(config.getoption("markexpr")):
        left_out = [item for item in items if item.get_closest_marker("exhaustive") is not None]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("exhaustive") is None]


def pytest_collection_finish() -> None:
    """Exclude imported modules and collected tests from garbage collections."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def without_fsync() -> Iterator[None]:
    """Do not wait for the disk: what a power failure leaves is not tested. Processes that tests start do wait."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny real checkpoint; copy it before changing it."""
    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    gc.freeze()  # torch and transformers are loaded; every `gate` command collects garbage before it loads a model
    return folder


@pytest.fixture(scope="session")
def other_tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture and tokenizer with other weights."""
    return write_tiny_model(tmp_path_factory.mktemp("models") / "other", seed=1)


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct, the demo's baseline: written once for all workers, or taken from QUANTGATE_MODELS."""
    from gate.demo.models import write_baseline

    if "QUANTGATE_MODELS" in os.environ:
        return Path(os.environ["QUANTGATE_MODELS"]) / "baseline"
    return _written_once(tmp_path_factory, "smollm2", write_baseline)


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model after some training, so that its texts are valid UTF-8; copy it before changing it."""
    from support.trained import write_trained_model

    return _written_once(tmp_path_factory, "trained", write_trained_model)


@pytest.fixture(scope="session")
def other_trained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture and tokenizer with other weights."""
    from support.trained import write_trained_model

    return _written_once(tmp_path_factory, "other-trained", lambda folder: write_trained_model(folder, seed=1))


@pytest.fixture(scope="session")
def chat_model(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model with a chat template that has a variable."""
    from support.fake_chat import write_chat_model

    return _written_once(tmp_path_factory, "chat", lambda folder: write_chat_model(trained_model, folder))


def _written_once(factory: pytest.TempPathFactory, name: str, write: Callable[[Path], object]) -> Path:
    """Return the folder that `write` writes once for all workers."""
    from filelock import FileLock

    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / f"{name}.lock"):
        if not (shared / name).is_dir():
            write(shared / f"{name}.part")
            (shared / f"{name}.part").rename(shared / name)
    return shared / name


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that need it are skipped if it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path, other_tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the models `base` and `other`, the 24 items of the tiny task and a gate.yml."""
    monkeypatch.chdir(tmp_path)
    return write_tiny_project(tmp_path, tiny_model, other_tiny_model)


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        yield server


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with serve_s3() as url:
        yield url


@pytest.fixture
def bucket(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket; the environment has the server's address and credentials."""
    use_s3(monkeypatch, s3_url, tmp_path / "cache")
    return Bucket(f"gate-{tmp_path.name.replace('_', '-')[:40].lower().strip('-')}")
