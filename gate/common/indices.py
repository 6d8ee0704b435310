"""Indices of choices that are stored as text."""

from __future__ import annotations

_LONGEST = 100  # digits; Python refuses to convert more than 4,300


def parse_index(text: object, count: int) -> int | None:
    """Return the index below `count` that a text of decimal digits stands for; None if it stands for none.

    Examples
    --------
    >>> parse_index("2", 4), parse_index("4", 4), parse_index("B", 4), parse_index("9" * 5000, 4)
    (2, None, None, None)
    """
    if not isinstance(text, str) or not text.isdecimal() or len(text) > _LONGEST:
        return None
    index = int(text)
    return index if index < count else None
