"""Scorers that compare texts: equality, containment, regular expressions, shared words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import regex

from gate.errors import TaskError
from gate.tasks.scorers.base import Grade, Scorer
from gate.tasks.scoring import normalise, search

SQUAD = ("lower", "punctuation", "articles", "whitespace")
"""The normalisation of SQuAD's scores."""


@dataclass(frozen=True)
class NormalisedScorer(Scorer):
    """A scorer that normalises the text and the accepted answers."""

    steps: tuple[str, ...]

    def problem_with(self, target: str) -> tuple[str, str] | None:
        """Refuse an answer that an empty text would match, e.g. the answer "A" with the step `articles`."""
        if normalise(target, self.steps):
            return None
        return "which normalise reduces to an empty text", f"Remove a step from normalise: {', '.join(self.steps)}."


class ExactMatch(NormalisedScorer):
    """1 if the text equals an accepted answer."""

    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Compare after normalisation."""
        answer = normalise(text, self.steps)
        return Grade.of(any(answer == normalise(target, self.steps) for target in targets))


@dataclass(frozen=True)
class Contains(NormalisedScorer):
    """1 if the text contains an accepted answer; with `words`, as whole words."""

    words: bool = False

    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Search after normalisation."""
        answer = normalise(text, self.steps)
        return Grade.of(any(self._found(normalise(target, self.steps), answer) for target in targets))

    def _found(self, target: str, answer: str) -> bool:
        if not self.words:
            return target in answer
        return regex.search(rf"(?<!\w){regex.escape(target)}(?!\w)", answer) is not None


class F1(NormalisedScorer):
    """F1 score of the words (Rajpurkar et al. 2016, arXiv 1606.05250), the largest over the accepted answers."""

    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Compare bags of words."""
        words = normalise(text, self.steps).split()
        return Grade(max(_f1(words, normalise(target, self.steps).split()) for target in targets), None)


def _f1(words: Sequence[str], expected: Sequence[str]) -> float:
    shared = (Counter(words) & Counter(expected)).total()
    return 2.0 * shared / (len(words) + len(expected)) if shared else 0.0


class Regex(Scorer):
    """1 if an accepted answer, a regular expression, is found in the text."""

    def problem_with(self, target: str) -> tuple[str, str] | None:
        """Refuse what is not a regular expression, or is found in every text."""
        try:
            pattern = regex.compile(target)
        except regex.error as error:
            return f"which is not a regular expression: {error}", "Write special characters as \\. \\( \\[ and so on."
        if pattern.search(""):
            return "which is found in an empty text", "Write + in place of *, or anchor the expression."
        return None

    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Search for each expression."""
        return Grade.of(any(search(target, text, "scorer regex") is not None for target in targets))


class _Words:
    """Splits text as rouge-score does, but with the letters of all languages, not only a to z."""

    def tokenize(self, text: str) -> list[str]:
        return list(regex.findall(r"[\p{L}\p{M}\p{N}]+", text.lower()))


class RougeL(Scorer):
    """F-measure of ROUGE-L (Lin 2004), the largest over the accepted answers, by the package rouge-score."""

    @cached_property
    def _scorer(self) -> Any:
        try:
            from rouge_score.rouge_scorer import RougeScorer
        except ImportError:
            raise TaskError(
                "scorer rouge_l needs the package rouge-score.", "Run pip install 'quantgate[scorers]'."
            ) from None
        return RougeScorer(["rougeL"], tokenizer=_Words())

    @property
    def facets(self) -> Mapping[str, str]:
        """The version of rouge-score."""
        _ = self._scorer
        return {"rouge_score": version("rouge-score")}

    def problem_with(self, target: str) -> tuple[str, str] | None:
        """Refuse an answer without words."""
        return None if _Words().tokenize(target) else ("which has no letters or digits", "Use the scorer exact_match.")

    def grade(self, text: str, targets: Sequence[str], document: Mapping[str, Any]) -> Grade:
        """Compare sequences of words."""
        return Grade(max(float(self._scorer.score(target, text)["rougeL"].fmeasure) for target in targets), None)
