"""The first stage of a run: gate.yml is read and checked, its tasks are built and its store is open."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gate.app.reporter import Reporter
from gate.config import LoadedConfig, load_config
from gate.store import Store
from gate.store.remote import open_store
from gate.tasks import Task, build_suite


@dataclass(frozen=True)
class Suite:
    """What a gate.yml asks for, checked before any model is loaded."""

    loaded: LoadedConfig
    tasks: tuple[Task, ...]
    store: Store


def as_loaded(config: LoadedConfig | str | os.PathLike[str]) -> LoadedConfig:
    """Return a configuration as it is, or read the file at a path."""
    return config if isinstance(config, LoadedConfig) else load_config(Path(config))


def open_suite(loaded: LoadedConfig, reporter: Reporter) -> Suite:
    """Build the tasks of a gate.yml and open its store.

    Raises
    ------
    TaskError, SampleError, ConfigError
        A task file or the store is wrong.
    """
    config = loaded.config
    tasks = build_suite(config, loaded.folder)
    return Suite(loaded, tasks, open_store(config.samples.store, loaded.folder, reporter.message))
