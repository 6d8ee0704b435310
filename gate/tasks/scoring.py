"""From an engine's answer to a score. Pure functions; every metric here is 1 (right) or 0 (wrong)."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation

_MAX_DIGITS = 1000
SCORING_VERSION = 1
"""Part of every task's fingerprint: raise it with any change that can change a score."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def pick_choice(loglikelihoods: Sequence[float], choices: Sequence[str], metric: str) -> int:
    """Return the 0-based index of the model's choice; the first wins a tie.

    Parameters
    ----------
    loglikelihoods : sequence of float, one a choice
        Sum of the choice's token log-probabilities given the context, in nats.
    choices : sequence of str
        The texts of the choices, without the delimiter.
    metric : {"acc", "acc_norm"}
        `acc` takes the largest log-likelihood, `acc_norm` the largest per character of the choice, as in
        LM Evaluation Harness 0.4 (`ConfigurableTask.process_results`).
    """
    if metric == "acc":
        values = list(loglikelihoods)
    elif metric == "acc_norm":
        values = [value / len(choice) for value, choice in zip(loglikelihoods, choices, strict=True)]
    else:
        raise ValueError(f"metric must be acc or acc_norm, found {metric!r}")
    return values.index(max(values))


def _number(text: str) -> str:
    """Return 1,200.50 $ as 1200.5; what is not a number stays as it is."""
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
    """Apply normalisation steps in the order given.

    strip: outer white space; lower: lower case; punctuation: ASCII punctuation removed; articles: the
    words a, an, the removed; whitespace: runs become one space, ends stripped; number: a decimal number
    without separators, currency or trailing zeros. `[lower, punctuation, articles, whitespace]` is SQuAD's
    normalisation.

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
    r"""Return the first group (or, without groups, the match) of `pattern` in `text`; no match gives "".

    Examples
    --------
    >>> extract("so the answer is 42.", r"answer is (\d+)")
    '42'
    """
    if pattern is None:
        return text
    match = re.search(pattern, text)
    if match is None:
        return ""
    return match.group(1) or "" if match.re.groups else match.group(0)


def exact_match(text: str, answers: Sequence[str], pattern: str | None, steps: Sequence[str]) -> bool:
    """Tell whether the extracted, normalised text equals an accepted answer, normalised the same way."""
    given = normalise(extract(text, pattern), steps)
    return any(given == normalise(answer, steps) for answer in answers)
