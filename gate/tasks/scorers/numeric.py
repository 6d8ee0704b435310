"""The scorer `numeric`: the last number of a text, with a tolerance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import regex

from gate.tasks.scorers.base import Grade, Scorer

_NUMBER = regex.compile(
    r"(?<![\d.])(?:(?<!\w)[-+])?(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?(?:[eE][-+]?\d++)?|(?<![\w.])[-+]?\.\d++"
)
_MOST_DIGITS = 1000  # 1e999999999 would not fit into memory


@dataclass(frozen=True)
class Numeric(Scorer):
    """1 if the last number of the text differs from an accepted answer by at most a tolerance.

    Attributes
    ----------
    tolerance : float
        Largest difference.
    relative : float
        Largest difference as a proportion of the answer; the larger of the two counts.
    """

    tolerance: float
    relative: float

    def problem_with(self, target: str) -> tuple[str, str] | None:
        """Refuse an answer without a number."""
        return None if last_number(target) is not None else ("which has no number", "Numbers are written 1,200.5.")

    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Compare exactly: with a tolerance of 0.1, 0.4 is close enough to 0.3."""
        found = last_number(text)
        if found is None:
            return Grade.of(False, readable=False)
        expected = [number for number in map(last_number, targets) if number is not None]
        return Grade.of(any(self._close(found, number) for number in expected))

    def _close(self, found: Fraction, expected: Fraction) -> bool:
        tolerance, relative = (Fraction(str(value)) for value in (self.tolerance, self.relative))
        return abs(found - expected) <= max(tolerance, relative * abs(expected))


def last_number(text: str) -> Fraction | None:
    """Return the last decimal number of a text, exactly; None if there is none, or it has over 1,000 digits.

    Examples
    --------
    >>> last_number("12 apples at $1,200.50 each"), last_number("x = -2e3."), last_number("none")
    (Fraction(2401, 2), Fraction(-2000, 1), None)
    """
    numbers = _NUMBER.findall(text.replace("\N{MINUS SIGN}", "-"))
    if not numbers:
        return None
    value = Decimal(numbers[-1].replace(",", ""))
    if not value.is_finite() or len(value.as_tuple().digits) > _MOST_DIGITS or abs(value.adjusted()) > _MOST_DIGITS:
        return None
    return Fraction(value)
