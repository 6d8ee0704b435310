"""The decision: verdict from test results and policy."""

from gate.decision.decide import decide
from gate.decision.result import Decision, TaskResult
from gate.decision.run_sections import EarlyStopping
from gate.decision.series import Spending
from gate.decision.spending import spend

__all__ = ["Decision", "EarlyStopping", "Spending", "TaskResult", "decide", "spend"]
