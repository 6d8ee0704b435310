"""`gate doctor`: what this machine provides, and what that means for `gate run`."""

from gate.doctor.examine import examine
from gate.doctor.finding import Finding

__all__ = ["Finding", "examine"]
