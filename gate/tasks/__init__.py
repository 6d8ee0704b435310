"""Tasks: what is asked, from files, and how it is scored."""

from gate.tasks.build import build_task
from gate.tasks.canonical import canonical_json, digest, text_digest
from gate.tasks.scoring import exact_match, pick_choice
from gate.tasks.task import Item, Message, Task

__all__ = [
    "Item",
    "Message",
    "Task",
    "build_task",
    "canonical_json",
    "digest",
    "exact_match",
    "pick_choice",
    "text_digest",
]
