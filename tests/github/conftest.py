"""Fixtures for the GitHub tests: a fake GitHub, a client without real waits, and event payloads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina
from support.fake_github import TOKEN, FakeGitHub
from support.runner import PAYLOADS

from gate.github.client import Client


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Keep the retry logic, but do not sleep."""
    stamina.set_testing(True, attempts=100, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
def waits() -> list[float]:
    """The client's waits, in seconds."""
    return []


@pytest.fixture
def client(github: FakeGitHub, waits: list[float]) -> Iterator[Client]:
    with Client(github.url, TOKEN, waiting=lambda seconds, reason: waits.append(seconds)) as opened:
        yield opened


@pytest.fixture
def event(tmp_path: Path) -> Callable[..., Path]:
    """Write an event file: one of GitHub's example payloads, optionally changed by the test."""

    def write(name: str, change: Callable[[Any], None] | None = None) -> Path:
        data = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
        if change is not None:
            change(data)
        path = tmp_path / "event.json"
        path.write_text(json.dumps(data), encoding="utf-8")
        return path

    return write
