"""What a scorer of generated texts is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Grade:
    """The score of one text.

    Attributes
    ----------
    score : float
        Larger is better.
    correct : bool or None
        None if the score is not binary.
    readable : bool
        Whether the text has the form that the scorer reads: a number, JSON. A text of another form scores 0.
    """

    score: float
    correct: bool | None
    readable: bool = True

    @classmethod
    def of(cls, correct: bool, readable: bool = True) -> Grade:
        """Return the grade of a right or wrong text."""
        return cls(float(correct), correct, readable)


class Scorer(ABC):
    """Scores generated texts; built by `build_scorer`."""

    @property
    def facets(self) -> Mapping[str, str]:
        """Facets of the task fingerprint beside the settings of the scorer."""
        return {}

    def problem_with(self, target: str) -> tuple[str, str] | None:
        """Return why an accepted answer cannot be used (after "answer gave X, which ...") and the next step."""
        return None

    @abstractmethod
    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Score an extracted text against the accepted answers of its document."""


class Unjudged(Scorer):
    """The scorer of texts that a judge scores later, when both models have answered."""

    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Return no score."""
        return Grade(math.nan, None)
