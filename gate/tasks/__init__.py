"""Tasks: what is asked, from files or LM Evaluation Harness, and how it is scored."""

from gate.tasks.build import build_task
from gate.canonical import canonical_json, digest, text_digest
from gate.tasks.curation import Curation
from gate.tasks.requests import Message
from gate.tasks.scoring import exact_match, pick_choice
from gate.tasks.suite import build_suite
from gate.tasks.task import Item, Sampling, Scored, Task

__all__ = [
    "Curation",
    "Item",
    "Message",
    "Sampling",
    "Scored",
    "Task",
    "build_suite",
    "build_task",
    "canonical_json",
    "digest",
    "exact_match",
    "pick_choice",
    "text_digest",
]
