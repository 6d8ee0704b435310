"""The items of a task that carry signal: the file that `gate curate` writes and `tasks[].items` names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.canonical import digest
from gate.errors import TaskError
from gate.tasks.task import Task

_AGAIN = "Run `gate curate` again with this gate.yml (without the task's `items:`)."


class Curation(BaseModel):
    """The items of a task that carry signal, and how they were found: the file that `tasks[].items` names.

    Attributes
    ----------
    task, task_fingerprint, baseline : str
        What was asked, and the fingerprint of the model that answered.
    runs, temperature, seed
        How often, and how, each item was answered.
    total, always_right, always_wrong : int
        Items of the task, and those that were dropped.
    kept : list of str
        `item_id` of the rest.
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
    """Return the task with only the items that a curation keeps; its fingerprint says so.

    Raises
    ------
    TaskError
        The file is missing or damaged, or was made for another version of the task.
    """
    try:
        chosen = Curation.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise TaskError(
            f"task {task.name}: items: {path} does not exist.", "`gate curate` writes it."
        ) from None
    except (OSError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise TaskError(f"task {task.name}: items: {path} is not a list of items: {why}.", _AGAIN) from None
    if chosen.task_fingerprint != task.fingerprint:
        raise TaskError(
            f"task {task.name}: items: {path} was made for task {chosen.task} as it was then; its documents, prompt or "
            "scoring have changed since.",
            _AGAIN,
        )
    kept = set(chosen.kept)
    items = tuple(item for item in task.items if item.item_id in kept)
    if len(items) != len(kept) or not items:
        raise TaskError(f"task {task.name}: items: {path} names items that the task does not have.", _AGAIN)
    said = (
        f"{len(items)} of {chosen.total} items, chosen by the baseline in {chosen.runs} runs at temperature "
        f"{chosen.temperature:g}; dropped {chosen.always_right} always right, {chosen.always_wrong} always wrong; "
        f"sha256 {digest(sorted(kept))[:16]}"
    )
    return replace(task, items=items, facets={**task.facets, "items": said})
