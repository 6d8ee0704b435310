"""The examples in docstrings run and give the documented output."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import gate.stats
import gate.tasks.scoring

MODULES = [
    *(f"gate.stats.{module.name}" for module in pkgutil.iter_modules(gate.stats.__path__)),
    "gate.tasks.scoring",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    assert sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES) > 30
