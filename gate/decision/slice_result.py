"""What result.json says about one slice of a task."""

from __future__ import annotations

from pydantic import Field

from gate.decision.section import ResultSection


class SliceResult(ResultSection):
    """One slice of a task; it never decides."""

    task: str
    name: str = Field(description="Field of the documents.")
    value: str = Field(description="Value of the field; for numbers the range, cut at the quartiles.")
    n: int
    baseline: float
    candidate: float
    drop: float = Field(description="baseline - candidate; positive where the candidate is worse.")
    regressions: int
    improvements: int
    p: float = Field(description="One-sided p-value of a drop in this slice alone.")
    p_holm: float = Field(description="p adjusted by Holm over all slices of all tasks.")
