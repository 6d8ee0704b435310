"""Paired tests for degradations: pure functions on counts and arrays, usable alone.

The names follow `scipy.stats`: tests return objects with `statistic` and `pvalue`; randomised functions take
`n_resamples` and `rng` (a seed or a numpy Generator); intervals take `confidence_level`. An argument that is out of
range, or whose shape does not fit, raises a ValueError that names the argument, what was expected and what was found.
"""

from gate.stats.aggregates import fisher, max_drop, omnibus, pooled
from gate.stats.closed import closed_evalues, closed_pvalues
from gate.stats.combine import RULES, combine
from gate.stats.evidence import Evidence
from gate.stats.intervals import flip_rate_interval, tango_interval
from gate.stats.links import Links, link
from gate.stats.margin import margin_test, noninferiority
from gate.stats.mcnemar import mcnemar_exact, mcnemar_midp
from gate.stats.multiplicity import can_reject, holm
from gate.stats.noise import ExcessFlipsResult, excess_flips
from gate.stats.online import alarm_level, lord_levels
from gate.stats.permutation import sign_flip
from gate.stats.planning import PlannedDecision, decision_detectable_drop, decision_power
from gate.stats.power import detectable_drop, power, required_n
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
from gate.stats.sequential import log_e_value

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
    "RecoveryResult",
    "Rule",
    "SignFlipResult",
    "alarm_level",
    "can_reject",
    "closed_evalues",
    "closed_pvalues",
    "combine",
    "decision_detectable_drop",
    "decision_power",
    "detectable_drop",
    "excess_flips",
    "fisher",
    "flip_rate_interval",
    "holm",
    "link",
    "log_e_value",
    "lord_levels",
    "margin_test",
    "max_drop",
    "mcnemar_exact",
    "mcnemar_midp",
    "noninferiority",
    "omnibus",
    "pooled",
    "power",
    "recovery",
    "required_n",
    "sign_flip",
    "tango_interval",
]
