"""What result.json says about the series that a run belongs to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gate.decision.section import ResultSection


class NightlyEvidence(ResultSection):
    """The evidence of a series of runs under `alpha_spending: {kind: evalue}`; natural logarithms of e-values."""

    runs: int = Field(description="Runs of a period.")
    runs_per_group: int = Field(description="Planned runs that share a model and items.")
    run_of_group: int = Field(description="Number of this run among the runs that share a model and items, from 1.")
    log_carried: float | None = Field(description="What the earlier, independent groups of the period left.")
    log_sum: float | None = Field(description="Sum of the e-values of the group's other runs; null if there is none.")
    log_sum_planned: float | None = Field(description="Of these, the sum of those among the first `runs_per_group`.")
    repeats: int = Field(0, description="Earlier nights of this run: the same models and items. They count as one run.")
    log_repeated: float | None = Field(None, description="Sum of their e-values; the run's is the mean of all.")
    log_e_value: float = Field(0.0, description="E-value of this run alone.")
    log_evidence: float = Field(
        0.0, description="Evidence so far; see `gate.decision.nightly.spend_evalues`. FAIL from 1 / alpha."
    )
    items: list[str] = Field(description="The smallest hashes of the items' ids, which show whether runs share items.")


class Spending(ResultSection):
    """The level of this run under a policy for a series of runs."""

    kind: Literal["yearly", "lord", "evalue"]
    level: float = Field(description="Alpha of this run.")
    run: int = Field(description="Number of this run in its series, from 1.")
    alarms: int = Field(description="Earlier runs of the series that failed.")
    guarantee: str
    evidence: NightlyEvidence | None = Field(None, description="Only with e-values.")
