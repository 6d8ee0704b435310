"""Tasks from the registry of LM Evaluation Harness. Importing this package does not import lm_eval."""

from gate.tasks.harness.build import build_harness_task
from gate.tasks.harness.task import HarnessItem, HarnessTask

__all__ = ["HarnessItem", "HarnessTask", "build_harness_task"]
