"""Tasks: items and prompts from files or LM Evaluation Harness, and the scoring of answers."""

from gate.tasks.build import build_task
from gate.tasks.curation import Curation
from gate.tasks.requests import Message
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
]
