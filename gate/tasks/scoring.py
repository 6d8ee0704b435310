"""Extraction and normalisation of generated texts of tasks from files."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation

import regex  # the standard library's `re` has no time limit

from gate.errors import TaskError

SCORING_VERSION = 1
"""Part of every task fingerprint. Raise it with every change that can change a score."""

_MAX_DIGITS = 1000
_SEARCH_SECONDS = 2.0  # of processor time
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _number(text: str) -> str:
    """Return a number in plain form (1,200.50 $ as 1200.5), and any other text unchanged."""
    try:
        value = Decimal(text.replace(",", "").strip().strip("$€£% ").strip())
    except InvalidOperation:
        return text
    if not value.is_finite() or abs(value.adjusted()) > _MAX_DIGITS:  # 1e999999999 would not fit into memory
        return text
    plain = f"{value:f}"  # exact, unlike Decimal.normalize, which rounds to 28 digits
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain == "-0" else plain


_STEPS: dict[str, Callable[[str], str]] = {
    "strip": str.strip,
    "lower": str.lower,
    "punctuation": lambda text: text.translate(_PUNCTUATION),
    "articles": lambda text: re.sub(r"\b(a|an|the)\b", " ", text, flags=re.IGNORECASE),
    "whitespace": lambda text: " ".join(text.split()),
    "number": _number,
}


def normalise(text: str, steps: Sequence[str]) -> str:
    """Return the text after normalisation steps, applied in the order given.

    Steps: strip (remove outer white space), lower (lower case), punctuation (remove ASCII punctuation), articles
    (remove the words a, an, the), whitespace (collapse runs to one space, and strip), number (a decimal number without
    separators, currency and trailing zeros). `[lower, punctuation, articles, whitespace]` is SQuAD's normalisation.

    Examples
    --------
    >>> normalise(" The  Cat!", ["lower", "punctuation", "articles", "whitespace"])
    'cat'
    >>> normalise("$1,200.50", ["number"])
    '1200.5'
    """
    for step in steps:
        text = _STEPS[step](text)
    return text


def extract(text: str, pattern: str | None) -> str:
    r"""Return the first group of `pattern` in `text`, the whole match if it has no groups, or "" without a match.

    Raises
    ------
    TaskError
        The search takes more than 2 seconds: the pattern backtracks without end on this text.

    Examples
    --------
    >>> extract("so the answer is 42.", r"answer is (\d+)")
    '42'
    """
    if pattern is None:
        return text
    match = search(pattern, text, "extract")
    if match is None:
        return ""
    return str(match.group(1) or "" if match.re.groups else match.group(0))


def search(pattern: str, text: str, key: str) -> regex.Match[str] | None:
    """Return the first match of `pattern` in a generated text; `key` names the pattern in the message.

    Raises
    ------
    TaskError
        The search takes more than 2 seconds: the pattern backtracks without end on this text.
    """
    try:
        return regex.search(pattern, text, timeout=_SEARCH_SECONDS)
    except TimeoutError:
        raise TaskError(
            f"{key}: the pattern {pattern!r} takes more than {_SEARCH_SECONDS:g} s on a generated text.",
            "Rewrite it without nested repetitions such as (a|a)* or (a+)+.",
        ) from None
