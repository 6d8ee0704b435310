"""All tasks of a gate.yml."""

from __future__ import annotations

from pathlib import Path

from gate.canonical import digest
from gate.config import GateConfig
from gate.errors import ConfigError
from gate.tasks.build import build_task
from gate.tasks.harness import HarnessItem
from gate.tasks.task import Task


def build_suite(config: GateConfig, folder: Path) -> tuple[Task, ...]:
    """Build every task of a gate.yml in `folder`.

    Raises
    ------
    TaskError
        See `build_task`.
    ConfigError
        Two gating registry tasks share a document.
    """
    tasks = tuple(build_task(task, config.samples, folder, config.include_path) for task in config.tasks)
    _refuse_overlap(tasks)
    return tasks


def _refuse_overlap(tasks: tuple[Task, ...]) -> None:
    """Raise ConfigError if two gating tasks share a document: the tests assume independent items."""
    owners: dict[str, str] = {}
    for task in tasks:
        if task.settings.role != "gating":
            continue
        for item in task.items:
            if not isinstance(item, HarnessItem):
                continue
            owner = owners.setdefault(digest(item.document), task.name)
            if owner != task.name:
                raise ConfigError(
                    f"tasks {owner} and {task.name} share documents, whose flips would count twice.",
                    "Make one of them advisory, or name only the group.",
                )
