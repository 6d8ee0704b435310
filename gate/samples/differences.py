"""Why items or prompts of two models differ, for messages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import takewhile

_AROUND = 24  # characters shown before the first difference
_SHOWN = 48  # and after it
_FEW = 20_000  # names that are looked at


def differing_names(baseline: Sequence[str], candidate: Sequence[str]) -> str | None:
    """Return in what way the item ids of one side are almost those of the other; None if they are not.

    Parameters
    ----------
    baseline, candidate : sequence of str
        Ids that only this side has.

    Examples
    --------
    >>> differing_names(["1.0", "2.0"], ["1", "2"])
    "a final '.0' (1.0 against 1): one tool wrote the ids as decimals"
    """
    ways: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("a final '.0' ({}): one tool wrote the ids as decimals", _without_decimals),
        ("their Unicode normalisation ({}, which look alike): use one form, e.g. NFC", _composed),
        ("white space ({})", lambda name: "".join(name.split())),
        ("leading zeros ({})", _without_zeros),
        ("upper and lower case ({})", str.casefold),
    )
    for text, normalise in ways:
        ours = {normalise(name): name for name in baseline[:_FEW]}
        common = [(ours[normalise(name)], name) for name in candidate[:_FEW] if normalise(name) in ours]
        if common and 2 * len(common) >= min(len(ours), len(candidate[:_FEW])):
            a, b = common[0]
            shown = (
                f"{a[:32]} against {b[:32]}" if a.strip() == a and b.strip() == b else f"{a[:32]!r} against {b[:32]!r}"
            )
            return text.format(shown)
    return None


def where_texts_part(baseline: str, candidate: str) -> str:
    """Return both texts around their first difference.

    Examples
    --------
    >>> where_texts_part("system: You help. user: Hi", "system: user: Hi")
    "the baseline has 'system: You help. user: Hi', the candidate 'system: user: Hi', from character 9 on"
    """
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(baseline, candidate, strict=False)))
    start = max(same - _AROUND, 0)
    a, b = (_clip(text, start, same + _SHOWN) for text in (baseline, candidate))
    return f"the baseline has {a!r}, the candidate {b!r}, from character {same + 1} on"


def _clip(text: str, start: int, end: int) -> str:
    return ("..." if start else "") + text[start:end] + ("..." if len(text) > end else "")


def _without_decimals(name: str) -> str:
    return re.sub(r"\.0+$", "", name)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFKC", name)


def _without_zeros(name: str) -> str:
    return re.sub(r"\d+", lambda digits: str(int(digits[0])) if len(digits[0]) < 100 else digits[0], name)
