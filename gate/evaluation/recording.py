"""What is stored of the distributions along a baseline's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gate.config import DistanceSettings

_WHOLE = 2**31 - 1  # more than any vocabulary; an engine returns what there is


@dataclass(frozen=True)
class Recording:
    """How many tokens are stored of each distribution.

    Attributes
    ----------
    top : int or "whole"
        Likeliest tokens: 6 bytes per token before compression; 0 for no distributions.
    drawn : int
        Tokens drawn from the rest; 6 bytes each.
    """

    top: int | Literal["whole"] = 64
    drawn: int = 16

    @classmethod
    def of(cls, distance: DistanceSettings) -> Recording:
        """Return what `distance` of gate.yml asks for."""
        return cls(distance.kl_top, 0 if distance.kl_top == "whole" else distance.kl_sampled) if distance.kl else NONE

    @property
    def requested_top(self) -> int:
        """The number of likeliest tokens that an engine is asked for."""
        return _WHOLE if self.top == "whole" else self.top

    def __str__(self) -> str:
        return f"{self.top} + {self.drawn}" if self.drawn else str(self.top)


NONE = Recording(0, 0)
"""No distributions."""
DEFAULT = Recording()
"""What gate.yml asks for by default."""
