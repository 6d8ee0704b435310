"""Accepted regressions as data: the part of result.json that shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gate.decision.section import ResultSection


class AcceptedEntry(ResultSection):
    """One entry of `accept` in gate.yml, and what it met in this run."""

    task: str
    items: list[str] = Field(description="Accepted items, of those that this run has.")
    regressions: int = Field(ge=0, description="How many of them regressed in this run.")
    missing: int = Field(ge=0, description="Accepted items that this run does not have.")
    drop: float | None = Field(description="Accepted drop (proportion).")
    reason: str
    expires: str = Field(description="The last day on which it counts (UTC).")
    state: Literal["counts", "expired", "no such item", "no such task", "too many items"] = Field(
        description="counts; or why it does not. too many items: more than a tenth of the items of the task."
    )


class Acceptance(ResultSection):
    """The decision with and without accepted regressions."""

    entries: list[AcceptedEntry]
    p_value: float | None = Field(
        description="P-value of the deciding test without the accepted items, with the accepted drops as margins. Null "
        "where no entry counts. It is conditional on the choice of the items: see docs/explanation/limits.md."
    )
    verdict_of_all: Literal["PASS", "FAIL", "INCONCLUSIVE"] = Field(
        description="Verdict on all items, without acceptance."
    )
    hidden: float = Field(
        ge=0, le=1, description="Largest mean drop over the gating items that accepted items can hide (proportion)."
    )
