"""The informative items of a task: the file that `gate curate` writes and `tasks[].items` names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gate.common.canonical import digest
from gate.common.selection import FACET, Selection
from gate.errors import TaskError
from gate.tasks.task import Task

_AGAIN = "Run `gate curate` again with this gate.yml, after removing `items:` from this task."


class Curation(BaseModel):
    """The informative items of a task, and how they were selected; see `gate.common.selection.Selection`.

    Attributes
    ----------
    by : "baseline" or "other"
        Whose answers selected the items: the baseline's, or those of a model that is not compared.
    model, weights : str
        Fingerprint of that model, and SHA-256 of its weights.
    runs, temperature, seed, audit
        Number of answers per item, how they were sampled, and the smallest probability of selecting an item.
    total, always_right, always_wrong : int
        Items of the task, and those dropped because the answer is almost always right, or wrong.
    kept : list of str
        `item_id` of the other items.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[2] = 2
    task: str
    task_fingerprint: str
    by: Literal["baseline", "other"]
    model: str
    weights: str
    runs: int = Field(ge=2)
    temperature: float = Field(gt=0)
    seed: int
    audit: float = Field(gt=0, lt=1)
    total: int = Field(ge=1)
    always_right: int = Field(ge=0)
    always_wrong: int = Field(ge=0)
    kept: list[str]

    @property
    def selection(self) -> Selection:
        """The rule."""
        return Selection(self.by, self.weights, self.runs, self.temperature, self.seed, self.audit)


def select_items(task: Task, path: Path) -> Task:
    """Return the task with only the items that a curation keeps, and with the curation in its fingerprint.

    Raises
    ------
    TaskError
        The file is missing or damaged, was made by an older quantgate or for another version of the task, or selects
        the items of a task with generated text by the baseline.
    """
    curation = _read(task, path)
    if curation.task_fingerprint != task.fingerprint:
        raise TaskError(
            f"task {task.name}: items: {path} was made for another version of task {curation.task}; its documents, "
            "prompt or scoring have changed since.",
            _AGAIN,
        )
    if curation.by == "baseline" and task.generates:
        raise TaskError(
            f"task {task.name}: items: {path} selects generated texts by the baseline's own answers.",
            "Run `gate curate --by MODEL`, with a model that is neither the baseline nor the candidate.",
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
    by = "the baseline" if curation.by == "baseline" else "a model that is not compared"
    facet = (
        f"{len(items)} of {curation.total} items, selected by {by} with {curation.runs} answers per item "
        f"at temperature {curation.temperature:g}; "
        f"dropped {curation.always_right} always right, {curation.always_wrong} always wrong; "
        f"sha256 {digest(sorted(kept))[:16]}"
    )
    facets = {**task.facets, "items": facet, FACET: curation.selection.facet()}
    return replace(task, items=items, facets=facets)


def require_other_model(task: Task, weights: str, side: str) -> None:
    """Refuse to compare a model whose own answers selected the items, where only another model's may.

    Raises
    ------
    TaskError
        The weights are those of the selecting model.
    """
    rule = Selection.parse(task.facets[FACET]) if FACET in task.facets else None
    if rule is not None and rule.by == "other" and rule.weights == weights:
        raise TaskError(
            f"task {task.name}: its items were selected by the {side}'s own answers, which biases the test.",
            "Run `gate curate --by MODEL` with a model that is neither the baseline nor the candidate.",
        )


def _read(task: Task, path: Path) -> Curation:
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict) and content.get("schema_version") == 1:
            raise TaskError(
                f"task {task.name}: items: {path} was made by an older quantgate, which selected items by the "
                "log-likelihoods that also score the baseline; the test on them is biased.",
                _AGAIN,
            )
        return Curation.model_validate(content)
    except FileNotFoundError:
        raise TaskError(f"task {task.name}: items: {path} does not exist.", "Write it with `gate curate`.") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise TaskError(f"task {task.name}: items: {path} is not a list of items: {reason}.", _AGAIN) from None
