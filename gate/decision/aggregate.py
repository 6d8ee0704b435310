"""The p-values over all gating tasks, as data."""

from __future__ import annotations

from pydantic import Field

from gate.decision.section import ResultSection
from gate.stats import CombinedResult


class AggregatePValue(ResultSection):
    """P-value of one aggregate over the gating tasks."""

    p: float
    bound: bool = Field(False, description="Whether p is an upper bound, because too few sign patterns were drawn.")

    @property
    def p_is_bound(self) -> bool:
        """Whether `p` is an upper bound."""
        return self.bound


class OmnibusPValue(AggregatePValue):
    """P-value of the omnibus rule, and its precision."""

    draws: int = Field(description="Monte-Carlo draws; 0 where all outcomes were enumerated.")
    p_low: float
    p_high: float

    @property
    def p_is_bound(self) -> bool:
        """Whether `p` is an upper bound: no draw was as extreme as the data."""
        return self.bound or (self.draws > 0 and self.p * (self.draws + 1) < 1.5)


class Aggregate(ResultSection):
    """The p-values of all aggregates; `Decision.rule` names the one that decides."""

    pooled: AggregatePValue
    max: AggregatePValue
    fisher: AggregatePValue
    holm: AggregatePValue
    omnibus: OmnibusPValue

    def is_bound(self, rule: str) -> bool:
        """Whether the p-value of a rule is an upper bound."""
        return bool(getattr(self, rule).p_is_bound)


def aggregate_of(combined: CombinedResult, resolution: float = 0.0) -> Aggregate:
    """Return the p-values of all rules; those up to `resolution` are bounds, because the draws tell no more."""

    def of(p: float) -> AggregatePValue:
        return AggregatePValue(p=p, bound=p <= resolution)

    return Aggregate(
        pooled=of(combined.pooled.pvalue),
        max=of(combined.max_drop.pvalue),
        fisher=of(combined.fisher.pvalue),
        holm=of(combined.holm.pvalue),
        omnibus=OmnibusPValue(
            p=combined.omnibus.pvalue,
            bound=combined.omnibus.pvalue <= resolution,
            draws=combined.omnibus.n_resamples,
            p_low=combined.omnibus.pvalue_ci.low,
            p_high=combined.omnibus.pvalue_ci.high,
        ),
    )
