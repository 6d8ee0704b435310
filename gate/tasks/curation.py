"""The informative items of a task: the file that `gate curate` writes and `tasks[].items` names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.common.canonical import digest
from gate.errors import TaskError
from gate.tasks.task import Task

_AGAIN = "Run `gate curate` again with this gate.yml, after removing `items:` from this task."


class Curation(BaseModel):
    """The informative items of a task, and how they were selected.

    Attributes
    ----------
    baseline : str
        Fingerprint of the model that answered.
    runs, temperature, seed
        Number of answers per item, and how they were sampled.
    total, always_right, always_wrong : int
        Items of the task, and those dropped because every answer was right, or wrong.
    kept : list of str
        `item_id` of the other items.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(1, ge=1, le=1)
    task: str
    task_fingerprint: str
    baseline: str
    runs: int = Field(ge=2)
    temperature: float = Field(gt=0)
    seed: int
    total: int = Field(ge=1)
    always_right: int = Field(ge=0)
    always_wrong: int = Field(ge=0)
    kept: list[str]


def select_items(task: Task, path: Path) -> Task:
    """Return the task with only the items that a curation keeps, and with the curation in its fingerprint.

    Raises
    ------
    TaskError
        The file is missing or damaged, or was made for another version of the task.
    """
    try:
        curation = Curation.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise TaskError(f"task {task.name}: items: {path} does not exist.", "Write it with `gate curate`.") from None
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise TaskError(f"task {task.name}: items: {path} is not a list of items: {reason}.", _AGAIN) from None
    if curation.task_fingerprint != task.fingerprint:
        raise TaskError(
            f"task {task.name}: items: {path} was made for another version of task {curation.task}; its documents, "
            "prompt or scoring have changed since.",
            _AGAIN,
        )
    kept = set(curation.kept)
    items = tuple(item for item in task.items if item.item_id in kept)
    if missing := kept - {item.item_id for item in items}:
        noun = "item" if len(missing) == 1 else "items"
        names = ", ".join(sorted(missing)[:3]) + (" ..." if len(missing) > 3 else "")
        raise TaskError(
            f"task {task.name}: items: {path} names {len(missing)} {noun} that the task does not have: {names}.",
            _AGAIN,
        )
    if not items:
        raise TaskError(f"task {task.name}: items: {path} keeps no items.", _AGAIN)
    facet = (
        f"{len(items)} of {curation.total} items, chosen by the baseline in {curation.runs} runs "
        f"at temperature {curation.temperature:g}; "
        f"dropped {curation.always_right} always right, {curation.always_wrong} always wrong; "
        f"sha256 {digest(sorted(kept))[:16]}"
    )
    return replace(task, items=items, facets={**task.facets, "items": facet})
