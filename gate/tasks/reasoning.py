"""Separates the reasoning of a generated text from its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

DEFAULT_START, DEFAULT_END = "<think>", "</think>"
_MOST_STORED = 2000  # characters


@dataclass(frozen=True)
class ReasoningTags:
    """The texts between which a model writes its reasoning."""

    start: str = DEFAULT_START
    end: str = DEFAULT_END

    def opened_by(self, prompt: str) -> bool:
        """Return whether a prompt ends inside reasoning, as the chat templates of some models do."""
        return prompt.rstrip().endswith(self.start)


class Separated(NamedTuple):
    """A text in two parts.

    Attributes
    ----------
    answer : str
        The text after the reasoning, without leading white space; the whole text, unchanged, if there is none.
    reasoning : str or None
        None if the text has none.
    closed : bool or None
        Whether the reasoning ends; if not, the answer is empty. None without reasoning.
    """

    answer: str
    reasoning: str | None
    closed: bool | None


def separate(text: str, tags: ReasoningTags | None, opened: bool = False) -> Separated:
    """Separate a text at the first end tag.

    Parameters
    ----------
    tags : ReasoningTags or None
        None: nothing is separated.
    opened : bool
        Whether the prompt ended inside reasoning, so that the text has no start tag.

    Examples
    --------
    >>> separate("<think>1 + 1</think> 2", ReasoningTags())
    Separated(answer='2', reasoning='1 + 1', closed=True)
    >>> separate("<think>1 + 1 is", ReasoningTags())
    Separated(answer='', reasoning='1 + 1 is', closed=False)
    >>> separate("2", ReasoningTags())
    Separated(answer='2', reasoning=None, closed=None)
    """
    if tags is None:
        return Separated(text, None, None)
    before, end, after = text.partition(tags.end)
    started = before.lstrip().startswith(tags.start)
    if not (end or started or opened):
        return Separated(text, None, None)
    reasoning = before.lstrip().removeprefix(tags.start).strip()
    return Separated(after.lstrip() if end else "", reasoning, bool(end))


def shortened(reasoning: str) -> str:
    """Return reasoning as it is stored: of a long one, the beginning and the end.

    Examples
    --------
    >>> len(shortened("x" * 5000))
    2041
    """
    left_out = len(reasoning) - _MOST_STORED
    if left_out <= 0:
        return reasoning
    half = _MOST_STORED // 2
    return f"{reasoning[:half]}\n[... {left_out} characters are left out ...]\n{reasoning[-half:]}"
