"""Fixtures of the GitHub tests: a fake GitHub, no real waiting, and results to show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina
from support.fake_github import TOKEN, FakeGitHub

from gate.github.client import Client

PAYLOADS = Path(__file__).parent / "payloads"


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """The client's waits are asked for and granted as ever, but nobody sleeps."""
    stamina.set_testing(True, attempts=100, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub() as server:
        yield server


@pytest.fixture
def waits() -> list[float]:
    """Seconds that the client waited."""
    return []


@pytest.fixture
def client(github: FakeGitHub, waits: list[float]) -> Iterator[Client]:
    with Client(github.url, TOKEN, waiting=lambda seconds, why: waits.append(seconds)) as one:
        yield one


@pytest.fixture
def event(tmp_path: Path) -> Callable[..., Path]:
    """Writes an event file: one of GitHub's own payloads, with the changes that the test names."""

    def write(name: str, change: Callable[[Any], None] | None = None) -> Path:
        data = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
        if change is not None:
            change(data)
        path = tmp_path / "event.json"
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return write
