"""All tasks of a gate.yml together."""

from __future__ import annotations

from pathlib import Path

from gate.canonical import digest
from gate.config import GateConfig
from gate.errors import ConfigError
from gate.tasks.build import build_task
from gate.tasks.harness import HarnessItem
from gate.tasks.task import Task


def build_suite(config: GateConfig, folder: Path) -> tuple[Task, ...]:
    """Read, check and render every task of a gate.yml that stands in `folder`.

    Raises
    ------
    TaskError
        See `build_task`.
    ConfigError
        Two gating tasks of the registry ask about the same document.
    """
    tasks = tuple(build_task(task, config.samples, folder, config.include_path) for task in config.tasks)
    _refuse_overlap(tasks)
    return tasks


def _refuse_overlap(tasks: tuple[Task, ...]) -> None:
    """A flip on one document would count twice as evidence: the tests take the tasks' items for independent."""
    seen: dict[str, str] = {}
    for task in tasks:
        if task.settings.role != "gating":
            continue
        for item in task.items:
            if not isinstance(item, HarnessItem):
                continue
            other = seen.setdefault(digest(item.document), task.name)
            if other != task.name:
                raise ConfigError(
                    f"tasks {other} and {task.name} ask about the same documents, whose flips would count twice.",
                    "Make one of them advisory, or name only the group.",
                )
