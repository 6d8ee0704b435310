"""Sections of result.json about the run as a whole: its sensitivity, several candidates, early stopping."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from gate.decision.section import ResultSection


class Sensitivity(ResultSection):
    """What drop this run could have detected."""

    power: float
    detectable_drop: float | None = Field(
        alias="drop", description="Smallest true drop, equal on every gating task, detected with that power."
    )
    alpha: float | None = Field(
        None,
        description="Level for which it holds: that of the decision, over the number of candidates (a conservative "
        "choice for their adjustment). Null in results of old versions.",
    )
    blind_tasks: list[str] = Field(description="Gating tasks with `can_reject` false.")
    linked: bool = Field(
        False, description="Whether gating tasks share clusters, so that `drop` is simulated with joint flips."
    )


class Adjustment(ResultSection):
    """How the p-value of one of several candidates was adjusted over them."""

    candidates: int = Field(description="Candidates that were compared with the baseline in the run.")
    p_alone: float = Field(description="P-value of this candidate alone.")
    method: Literal["step-down", "holm"] = Field(
        description="step-down: from signs drawn once per item (or cluster) for all candidates. holm: where a margin, "
        "early stopping or too few draws rule this out."
    )
    draws: int = Field(description="Sign patterns drawn; 0 for holm.")


class EarlyStopping(ResultSection):
    """The e-process over the flips of the gating tasks, monitored during the evaluation."""

    alpha: float = Field(description="Share of decision.alpha for stopping early; the final test has the rest.")
    log_e_value: float = Field(description="Natural logarithm of the e-value at the last look.")
    stopped: bool = Field(description="Whether the e-value reached 1 / alpha, which ended the evaluation.")
    items: int = Field(description="Items of the gating tasks that were answered.")
    total: int = Field(alias="of", description="Items of the gating tasks.")

    @property
    def e_value(self) -> float:
        """The e-value at the last look; capped where it exceeds the range of a float."""
        return math.exp(min(self.log_e_value, 700.0))
