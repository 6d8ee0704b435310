"""What makes an evaluation itself doubtful, as data: the part of result.json that reports show first."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gate.decision.section import ResultSection


class Finding(ResultSection):
    """Something that makes the evaluation itself doubtful."""

    kind: Literal[
        "chance", "blind", "gain", "same-file", "same-model", "same-weights", "same-answers", "stack", "empty", "broken"
    ] = Field(
        description="chance: the baseline is not better than chance. blind: no outcome could be significant, for "
        "example because there are too few items. gain: an implausible improvement. same-*: both sides are the same "
        "files, model, weights or answers. stack: the models ran on different stacks, and there is no control. empty: "
        "neither model answers. broken: most answers of both models are broken, or significantly more of the "
        "candidate's."
    )
    task: str | None = Field(None, description="The task it is about; null for the whole run.")
    message: str
    blocks: bool = Field(False, description="Whether there is no PASS: the run could not have shown a loss.")
