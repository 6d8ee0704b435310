"""The decision: verdict from test results and policy."""

from gate.decision.decide import decide
from gate.decision.result import Certification, Decision, EarlyStopping, Spending, TaskResult, Verdict
from gate.decision.rows import Role
from gate.decision.spending import spend

__all__ = [
    "Certification",
    "Decision",
    "EarlyStopping",
    "Role",
    "Spending",
    "TaskResult",
    "Verdict",
    "decide",
    "spend",
]
