"""What the verdict requires of one task, beside the policy of the whole decision."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gate.config.section import OpenProportion, Proportion, Section


class TaskPolicy(Section):
    """Requirements of one task. A key that is not set has no effect; `margin` then is that of the decision."""

    margin: Proportion | None = Field(
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
