"""The decision: verdict from test results and policy."""

from gate.decision.decide import decide
from gate.decision.result import Certification, Decision, TaskResult, Verdict
from gate.decision.rows import Role

__all__ = ["Certification", "Decision", "Role", "TaskResult", "Verdict", "decide"]
