"""What makes a generated text broken, whatever its score."""

from __future__ import annotations

import regex

PROBLEMS = ("truncated", "empty", "loop", "unreadable", "unclosed")
"""truncated: stopped by max_tokens. empty: only white space. loop: see `loops`. unreadable: the answer could not be
extracted, or has not the form that the scorer reads. unclosed: the reasoning never ended."""

_WORD = regex.compile(r"\p{Han}|\p{Hiragana}|\p{Katakana}|[\p{L}\p{M}\p{N}]{1,16}|\S")
_LAST, _FEWEST, _GRAM = 128, 32, 4  # words
_LONGEST = 16 * _LAST  # characters that hold the last words, with room for white space
_MOST_REPEATED = 0.5
SHORTEST_LOOP = _FEWEST
"""Characters of the shortest text that can be a loop."""


def loops(text: str) -> bool:
    """Return whether a text ends in a loop.

    Of the last 128 words (at least 32), more than half of all sequences of four words have occurred before among them.
    A word is a run of letters and digits (split after 16, so that a single endless word counts too), one Chinese or
    Japanese character, or one other character. The share of repeated n-grams is a common measure of degeneration
    (Welleck et al. 2020, arXiv 1908.04319, rep-n); the number of words, n and the limit are conventions of this gate.

    Examples
    --------
    >>> loops("I do not know. " * 20), loops("A short text with no loop at its end, of about ten words. " * 2)
    (True, False)
    """
    if len(text) < SHORTEST_LOOP:
        return False
    words = _WORD.findall(text[-_LONGEST:])[-_LAST:]
    if len(words) < _FEWEST:
        return False
    grams = [tuple(words[start : start + _GRAM]) for start in range(len(words) - _GRAM + 1)]
    return 1.0 - len(set(grams)) / len(grams) > _MOST_REPEATED


def problems_of(
    text: str, finish_reason: str | None = None, readable: bool | None = None, reasoning_closed: bool | None = None
) -> tuple[str, ...]:
    """Return the problems of a generated text, in the order of `PROBLEMS`; None in an argument is no problem."""
    found = {
        "truncated": finish_reason == "length",
        "empty": not text.strip(),
        "loop": loops(text),
        "unreadable": readable is False,
        "unclosed": reasoning_closed is False,
    }
    return tuple(name for name in PROBLEMS if found[name])
