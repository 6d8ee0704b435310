"""How reports word the distance between the behaviour of two models."""

from __future__ import annotations

from gate.decision.result import TaskResult
from gate.decision.wording import number

KL_CAPTION = (
    "KL: mean divergence of the answers' tokens from the baseline's, over the whole vocabulary; a lower bound where it "
    "is marked with ≥. It measures the size of the change, not its direction."
)


def kl_number(task: TaskResult) -> str:
    """Return the mean KL divergence of a task, marked with ≥ if it is a lower bound; `-` where not measured."""
    bound = task.kl_mean is not None and task.kl_is_bound is not False
    return f"≥ {number(task.kl_mean)}" if bound else number(task.kl_mean)


TEMPLATE_NAMES = {name: value for name, value in globals().items() if name in ("KL_CAPTION", "kl_number")}
"""The names of this module that the templates of reports use."""
