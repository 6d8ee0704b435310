"""Paired tests for degradations: pure functions on counts and arrays, usable alone."""

from gate.stats.aggregates import fisher, max_drop, pooled
from gate.stats.evidence import Evidence
from gate.stats.intervals import (
    Interval,
    Intervals,
    flip_rate_interval,
    margin_test,
    noninferiority,
    tango_interval,
)
from gate.stats.joint import RULES, JointResult, Rule, joint_test
from gate.stats.mcnemar import mcnemar_exact, mcnemar_midp
from gate.stats.multiplicity import can_reject, holm
from gate.stats.omnibus import omnibus
from gate.stats.online import alarm_level, lord_levels
from gate.stats.permutation import sign_flip
from gate.stats.planning import decision_power, minimum_detectable_drop_joint
from gate.stats.power import minimum_detectable_drop, power, required_n
from gate.stats.sequential import log_e_value

__all__ = [
    "RULES",
    "Evidence",
    "Interval",
    "Intervals",
    "JointResult",
    "Rule",
    "alarm_level",
    "can_reject",
    "decision_power",
    "fisher",
    "flip_rate_interval",
    "holm",
    "joint_test",
    "log_e_value",
    "lord_levels",
    "margin_test",
    "max_drop",
    "mcnemar_exact",
    "mcnemar_midp",
    "minimum_detectable_drop",
    "minimum_detectable_drop_joint",
    "noninferiority",
    "omnibus",
    "pooled",
    "power",
    "required_n",
    "sign_flip",
    "tango_interval",
]
