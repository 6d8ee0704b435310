"""Paired tests for degradations: pure functions on counts and arrays, usable alone.

The names follow `scipy.stats`: tests return objects with `statistic` and `pvalue`; randomised functions take
`n_resamples` and `rng` (a seed or a numpy Generator); intervals take `confidence_level`. An argument that is out of
range, or whose shape does not fit, raises a ValueError that names the argument, what was expected and what was found.
"""

from gate.stats._planned_links import PlannedLinks
from gate.stats.aggregates import fisher, max_drop, omnibus, pooled
from gate.stats.candidates import SharedUnits, StepDownResult, max_over_candidates, step_down, sums_of_units
from gate.stats.closed import by_holm, closed_evalues, closed_pvalues
from gate.stats.combine import RULES, combine
from gate.stats.evidence import Evidence
from gate.stats.intervals import clustered_flip_rate_interval, drop_interval, flip_rate_interval, tango_interval
from gate.stats.links import Links, link
from gate.stats.margin import margin_critical, margin_test, noninferiority, pooled_noninferiority
from gate.stats.mcnemar import mcnemar_exact, mcnemar_midp
from gate.stats.multiplicity import can_reject, holm
from gate.stats.noise import ExcessFlipsResult, excess_flips
from gate.stats.online import alarm_level, lord_levels
from gate.stats.permutation import sign_flip
from gate.stats.planned import PlannedDecision, PlannedTask
from gate.stats.planned_drop import planned_detectable_drop, planned_scale
from gate.stats.planning import decision_detectable_drop, decision_power, decision_required_n
from gate.stats.power import detectable_drop, power, required_n, required_n_certify
from gate.stats.recovery import RecoveryResult, recovery
from gate.stats.results import (
    AggregateResult,
    CombinedResult,
    ConfidenceInterval,
    MarginTestResult,
    McNemarResult,
    OmnibusResult,
    Rule,
    SignFlipResult,
)
from gate.stats.sequential import log_e_value, log_e_value_of_differences
from gate.stats.unit_interval import effective_number, unit_interval, unit_noninferiority

__all__ = [
    "RULES",
    "AggregateResult",
    "CombinedResult",
    "ConfidenceInterval",
    "Evidence",
    "ExcessFlipsResult",
    "Links",
    "MarginTestResult",
    "McNemarResult",
    "OmnibusResult",
    "PlannedDecision",
    "PlannedLinks",
    "PlannedTask",
    "RecoveryResult",
    "Rule",
    "SharedUnits",
    "SignFlipResult",
    "StepDownResult",
    "alarm_level",
    "by_holm",
    "can_reject",
    "closed_evalues",
    "closed_pvalues",
    "clustered_flip_rate_interval",
    "combine",
    "decision_detectable_drop",
    "decision_power",
    "decision_required_n",
    "detectable_drop",
    "drop_interval",
    "effective_number",
    "excess_flips",
    "fisher",
    "flip_rate_interval",
    "holm",
    "link",
    "log_e_value",
    "log_e_value_of_differences",
    "lord_levels",
    "margin_critical",
    "margin_test",
    "max_drop",
    "max_over_candidates",
    "mcnemar_exact",
    "mcnemar_midp",
    "noninferiority",
    "omnibus",
    "planned_detectable_drop",
    "planned_scale",
    "pooled",
    "pooled_noninferiority",
    "power",
    "recovery",
    "required_n",
    "required_n_certify",
    "sign_flip",
    "step_down",
    "sums_of_units",
    "tango_interval",
    "unit_interval",
    "unit_noninferiority",
]
