"""A server of our own as a program, and the processes that it leaves."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.started import MARK, tiny_command
from support.tiny import edit_gate_yml, write_tiny_project

from gate.config import EngineSettings, ModelSettings
from gate.engines import Context, Engine, close_engine, fetch, locate, open_engine


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """A mark in the environment of every process that the test starts."""
    value = uuid.uuid4().hex
    monkeypatch.setenv(MARK, value)
    return value


@pytest.fixture(scope="session")
def weights(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model in a folder `first`, which is its name."""
    return Path(shutil.copytree(trained_model, tmp_path_factory.mktemp("served") / "first"))


@pytest.fixture(scope="session")
def other_weights(other_trained_model: Path) -> Path:
    return other_trained_model


@pytest.fixture
def served_project(
    tmp_path: Path, weights: Path, other_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Write a project whose models are served by the small server with some options, and make it the current folder."""

    def write(*options: str, **sections: Any) -> Path:
        monkeypatch.chdir(tmp_path)
        engine = {"kind": "served", "command": tiny_command(*options), "concurrency": 2}
        write_tiny_project(tmp_path, weights, other_weights)
        edit_gate_yml(tmp_path, **({"engine": engine} | sections))
        return tmp_path

    return write


@pytest.fixture
def start(weights: Path, tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Start a server for the first model; it is stopped at the end of the test. Keywords are engine settings."""
    engines: list[Engine] = []

    def open_one(*options: str, messages: list[str] | None = None, **engine: Any) -> Engine:
        engine = engine if "preset" in engine else {"command": tiny_command(*options), **engine}
        settings = EngineSettings(kind="served", **engine)
        source = fetch(locate(ModelSettings(model=str(weights)), tmp_path, settings), settings, tmp_path, None)
        collect = (lambda _: None) if messages is None else messages.append
        engines.append(open_engine(source, settings, Context(tmp_path, tmp_path / "logs", collect)))
        return engines[-1]

    yield open_one
    for engine in engines:
        close_engine(engine)
