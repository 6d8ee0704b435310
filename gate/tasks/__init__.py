"""Tasks: items and prompts from files or LM Evaluation Harness, and the scoring of answers."""

from gate.tasks.build import build_suite, build_task
from gate.tasks.chat import CHAT_DATE, Message
from gate.tasks.curation import Curation
from gate.tasks.sampling import Sampling
from gate.tasks.task import Item, Task

__all__ = ["CHAT_DATE", "Curation", "Item", "Message", "Sampling", "Task", "build_suite", "build_task"]
