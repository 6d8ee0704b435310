"""Finds the answer after the reasoning of a sequence, while it is generated and at its end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate.tasks.reasoning import ReasoningTags, Separated, separate

_CONTEXT_TOKENS = 8  # decoded before a text that is searched for, so that it starts on a whole character


def search_window(texts: Collection[str]) -> int:
    """Return how many of the last tokens can hold a text that ends in the newest token.

    A token has at least one byte.
    """
    return max(len(text.encode()) for text in texts) + _CONTEXT_TOKENS


@dataclass
class ReasoningTracker:
    """Reasoning in the tokens of one sequence.

    Attributes
    ----------
    opened : bool
        Whether the prompt ended inside reasoning.
    kept : frozenset of int
        Special tokens that are tags. They are decoded, unlike other special tokens.
    started : bool
        Whether the text is known to have reasoning.
    answer_start : int or None
        Number of tokens before the answer; None while it has not begun.
    """

    tags: ReasoningTags
    opened: bool
    kept: frozenset[int]
    started: bool = False
    answer_start: int | None = None

    @classmethod
    def of(cls, tags: ReasoningTags, prompt: str, special: Mapping[str, int]) -> ReasoningTracker:
        """Return the tracker of a new sequence. `special` are the special tokens by their text."""
        kept = frozenset(special[tag] for tag in (tags.start, tags.end) if tag in special)
        opened = tags.opened_by(prompt)
        return cls(tags, opened, kept, started=opened)

    def separated(self, tokenizer: Any, tokens: Sequence[int]) -> Separated:
        """Return the parts of a whole text."""
        return separate(self._decode(tokenizer, tokens), self.tags, self.opened)

    def stops(self, tokenizer: Any, tokens: Sequence[int], stop: Sequence[str]) -> bool:
        """Return whether the answer has a stop string that ends in the newest token. Call it after each token."""
        if self.answer_start is None:
            self._find_answer(tokenizer, tokens)
            if self.answer_start is None:
                return False
        start = max(self.answer_start, len(tokens) - search_window(stop))
        text = self._decode(tokenizer, tokens[start:])
        if self.started and start == self.answer_start:
            text = text.lstrip()  # as `separate` does
        return any(each in text for each in stop)

    def _find_answer(self, tokenizer: Any, tokens: Sequence[int]) -> None:
        if not self.started:
            text = self._decode(tokenizer, tokens).lstrip()
            self.started = text.startswith(self.tags.start)
            if not self.started and not self.tags.start.startswith(text):
                self.answer_start = 0  # the text has no reasoning
        elif self.tags.end in self._decode(tokenizer, tokens[-search_window([self.tags.end]) :]):
            self.answer_start = len(tokens)

    def _decode(self, tokenizer: Any, tokens: Sequence[int]) -> str:
        parts, start = [], 0
        for index, token in enumerate(tokens):
            if token in self.kept:
                parts += [tokenizer.decode(tokens[start:index], skip_special_tokens=True), tokenizer.decode([token])]
                start = index + 1
        return "".join([*parts, tokenizer.decode(tokens[start:], skip_special_tokens=True)])
