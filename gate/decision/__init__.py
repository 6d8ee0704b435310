"""The decision: verdict from test results and policy."""

from gate.decision.decide import decide
from gate.decision.result import Decision, EarlyStopping, Spending, TaskResult
from gate.decision.spending import spend

__all__ = ["Decision", "EarlyStopping", "Spending", "TaskResult", "decide", "spend"]
