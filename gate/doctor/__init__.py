"""The doctor: what this machine has, and what that means for `gate run`."""

from gate.doctor.examine import examine
from gate.doctor.finding import Finding, State
from gate.doctor.gpu import require_devices
from gate.doctor.machine import hub_cache

__all__ = ["Finding", "State", "examine", "hub_cache", "require_devices"]
