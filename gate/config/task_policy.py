"""What the verdict requires of one task, beside the policy of the whole decision."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from gate.config.section import Margin, OpenProportion, Proportion, Section


class TaskPolicy(Section):
    """Requirements of one task. A key that is not set has no effect; `margin` then is that of the decision."""

    margin: Margin | None = Field(
        None, description="Tolerated drop of this task (proportion). Default: decision.margin."
    )
    certify: OpenProportion | None = Field(
        None,
        description="PASS also requires proof that the drop of this task is below this proportion (non-inferiority).",
    )
    max_drop: Proportion | None = Field(
        None,
        description="FAIL if the observed drop of this task is larger (proportion). A limit, not a test: its "
        "false-positive rate is not controlled.",
    )
    min_recovery: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None,
        description="FAIL if the candidate's mean score divided by the baseline's is smaller, e.g. 0.99. A limit, not "
        "a test.",
    )
    max_flip_rate: Proportion | None = Field(
        None, description="FAIL if a larger proportion of the items of this task flips. A limit, not a test."
    )
    max_kl: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="FAIL if the mean KL divergence of this task is larger (nats). A limit, not a test."
    )
    max_truncated: Proportion | None = Field(
        None,
        description="FAIL if a larger proportion of the candidate's generated texts is stopped by max_tokens. A limit, "
        "not a test.",
    )
    max_broken: Proportion | None = Field(
        None,
        description="FAIL if a larger proportion of the candidate's generated texts is broken: truncated, empty, "
        "ending in a loop, without an answer to extract, or with reasoning that never ends. A limit, not a test.",
    )
    chance: Proportion | None = Field(
        None,
        description="Score of a model that knows nothing (proportion). A gating task whose baseline is not better than "
        "that cannot show a loss: INCONCLUSIVE. Default: one divided by the number of choices; 0 without choices.",
    )
    scale: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=2)] | None = (
        Field(
            None,
            description="Lowest and highest possible score, e.g. [0, 100]. Scores are converted to proportions of this "
            "range, in which margins, bounds and reports are then meant. Needed for a margin or a bound on scores "
            "outside of 0 to 1.",
        )
    )

    lower_is_better: bool | None = Field(
        None,
        description="Whether lower values of the task's metric are better; its scores are then compared with their "
        "sign changed. Default: what the name of the metric or the evaluation itself tells. For files, and for tasks "
        "of LM Evaluation Harness.",
    )

    @model_validator(mode="after")
    def _rising(self) -> TaskPolicy:
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            raise ValueError(f"scale must be [lowest, highest] with lowest < highest; found {self.scale}")
        return self
