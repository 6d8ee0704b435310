"""The p-values over all gating tasks, as data."""

from __future__ import annotations

from pydantic import Field

from gate.decision.section import ResultSection
from gate.stats import CombinedResult


class AggregatePValue(ResultSection):
    """P-value of one aggregate over the gating tasks."""

    p: float


class OmnibusPValue(AggregatePValue):
    """P-value of the omnibus rule, and its precision."""

    draws: int = Field(description="Monte-Carlo draws; 0 where all outcomes were enumerated.")
    p_low: float
    p_high: float

    @property
    def p_is_bound(self) -> bool:
        """Whether `p` is an upper bound: no draw was as extreme as the data."""
        return self.draws > 0 and self.p * (self.draws + 1) < 1.5


class Aggregate(ResultSection):
    """The p-values of all aggregates; `Decision.rule` names the one that decides."""

    pooled: AggregatePValue
    max: AggregatePValue
    fisher: AggregatePValue
    holm: AggregatePValue
    omnibus: OmnibusPValue


def aggregate_of(combined: CombinedResult) -> Aggregate:
    """Return the p-values of all rules."""
    return Aggregate(
        pooled=AggregatePValue(p=combined.pooled.pvalue),
        max=AggregatePValue(p=combined.max_drop.pvalue),
        fisher=AggregatePValue(p=combined.fisher.pvalue),
        holm=AggregatePValue(p=combined.holm.pvalue),
        omnibus=OmnibusPValue(
            p=combined.omnibus.pvalue,
            draws=combined.omnibus.n_resamples,
            p_low=combined.omnibus.pvalue_ci.low,
            p_high=combined.omnibus.pvalue_ci.high,
        ),
    )
